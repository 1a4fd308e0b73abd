"""The runtime: state → retrieve → fuse → filter → rank → top-K."""
