"""The exception tree: every error a user can meet, and the exit code it ends a command with."""

__all__ = [
    "ArtifactError",
    "BundleError",
    "ConfigError",
    "DataError",
    "DownloadError",
    "InputError",
    "ParityError",
    "ProtocolError",
    "RecsysError",
    "TrainingError",
    "WorkspaceError",
]


class RecsysError(Exception):
    """The run failed. The message alone must tell the reader what to do; commands print it without a traceback."""

    exit_code = 1


class InputError(RecsysError):
    """What the user gave is wrong: a file, a flag, a request."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration is wrong: `file:line: dotted.path: what is wrong; did you mean …?`."""


class ProtocolError(ConfigError):
    """A configuration that breaks its own evaluation protocol, such as time decay without an order."""


class DataError(InputError):
    """A table is missing, empty, lacks a column, or has more bad rows than allowed."""


class DownloadError(RecsysError):
    """A public data set could not be fetched or did not match its checksum."""


class ArtifactError(RecsysError):
    """A stage output is missing, truncated or does not match its recorded hash."""


class BundleError(ArtifactError):
    """A bundle is damaged, of another format version, or answers its golden requests differently."""


class TrainingError(RecsysError):
    """Training diverged: a loss or a weight became NaN or infinite."""


class ParityError(RecsysError):
    """An exported graph and the torch model it came from disagree beyond the tolerance."""


class WorkspaceError(RecsysError):
    """The workspace cannot be used: locked by another run, or read-only."""
