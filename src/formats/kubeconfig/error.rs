//! Errors of reading a kubeconfig, and reasons why it cannot be changed.
//!
//! The texts contain names and line numbers, never a value of the file. They do not contain the
//! file's name: the caller adds it.

/// Why a text is not a kubeconfig that a component could use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum KubeconfigError {
    #[error("line {line}: not UTF-8 text")]
    NotUtf8 { line: u64 },
    #[error("it is empty")]
    Empty,
    #[error("line {line}, column {column}: {reason}")]
    Malformed { line: u64, column: u64, reason: String },
    #[error("line {line}: too deeply nested, or too much repeated by aliases")]
    TooComplex { line: u64 },
    #[error(
        "line {line}: a second document begins here, and Kubernetes reads only the first; keep one \
         document in the file"
    )]
    SeveralDocuments { line: u64 },
    #[error(
        "line {line}: a key stands here for the second time in the same mapping; remove one of them"
    )]
    DuplicateKey { line: u64 },
    #[error("line {line}: {reason}: no component of Kubernetes can read the file")]
    NotForKubernetes { line: u64, reason: &'static str },
    #[error(
        "line {line}: Kubernetes tells upper case from lower case in the name of a field and does \
         not read this one; write {field}"
    )]
    LetterCase { line: u64, field: &'static str },
    #[error(
        "line {line}: {file} is set beside {data}, and every component of Kubernetes refuses to \
         use both; remove one of them"
    )]
    Twofold { line: u64, data: &'static str, file: &'static str },
    #[error("it is not a kubeconfig: at its top there is no mapping")]
    NotAKubeconfig,
    #[error("line {line}: it is not a kubeconfig: {field} is not {expected:?}")]
    OtherKind { line: u64, field: &'static str, expected: &'static str },
    #[error("line {line}: a mapping with {holding:?} in it is expected here")]
    NotAMapping { line: u64, holding: &'static str },
    #[error("line {line}: {field} is not a list")]
    NotAList { line: u64, field: &'static str },
    #[error("line {line}: {field} is not {expected}: no component of Kubernetes can read the file")]
    WrongType { line: u64, field: &'static str, expected: &'static str },
    #[error(
        "line {line}: {field} is not a string (quote it if it looks like a number or a boolean)"
    )]
    NotAString { line: u64, field: &'static str },
    #[error(
        "line {line}: {field} is not base64 as Kubernetes reads it (padded, no spaces); it would \
         refuse the whole file"
    )]
    NotBase64 { line: u64, field: &'static str },
    #[error(
        "line {line}: {name:?} stands for the second time under {list}; Kubernetes refuses the \
         whole file"
    )]
    DuplicateName { line: u64, list: &'static str, name: String },
    #[error("it has no users")]
    NoUsers,
    #[error("it has no current-context")]
    NoCurrentContext,
    #[error("current-context is {name:?}, but there is no context of that name")]
    MissingContext { name: String },
    #[error("line {line}: the current context {context:?} names no user")]
    NoUserInContext { line: u64, context: String },
    #[error(
        "line {line}: the current context {context:?} names the user {user:?}, but there is no \
         user of that name"
    )]
    MissingUser { line: u64, context: String, user: String },
}

impl KubeconfigError {
    /// Whether the file may well hold what it should, in a form that has to be corrected by hand.
    #[must_use]
    pub fn is_about_form(&self) -> bool {
        matches!(
            self,
            Self::SeveralDocuments { .. }
                | Self::DuplicateKey { .. }
                | Self::NotForKubernetes { .. }
                | Self::LetterCase { .. }
                | Self::Twofold { .. }
                | Self::WrongType { .. }
                | Self::NotAString { .. }
                | Self::DuplicateName { .. }
        )
    }

    /// The line that the error is about.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::NotUtf8 { line }
            | Self::Malformed { line, .. }
            | Self::TooComplex { line }
            | Self::SeveralDocuments { line }
            | Self::DuplicateKey { line }
            | Self::NotForKubernetes { line, .. }
            | Self::LetterCase { line, .. }
            | Self::Twofold { line, .. }
            | Self::OtherKind { line, .. }
            | Self::NotAMapping { line, .. }
            | Self::NotAList { line, .. }
            | Self::NotAString { line, .. }
            | Self::WrongType { line, .. }
            | Self::NotBase64 { line, .. }
            | Self::DuplicateName { line, .. }
            | Self::NoUserInContext { line, .. }
            | Self::MissingUser { line, .. } => Some(*line),
            Self::Empty
            | Self::NotAKubeconfig
            | Self::NoUsers
            | Self::NoCurrentContext
            | Self::MissingContext { .. } => None,
        }
    }
}

/// Why a renewed certificate cannot be written into a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum SpliceError {
    #[error(transparent)]
    Unreadable(#[from] KubeconfigError),
    #[error("the user {user:?} has no embedded {field}: there is nothing to replace")]
    NotEmbedded { user: String, field: &'static str },
    #[error("line {line}: {field} cannot be replaced without changing anything else: {obstacle}")]
    Refused { line: u64, field: &'static str, obstacle: Obstacle },
    #[error(
        "line {line}: a line separator that not every YAML reader knows (U+0085, U+2028 or U+2029) \
         makes the file ambiguous; remove it"
    )]
    Ambiguous { line: u64 },
    #[error(
        "the changed file, read again, is not the old one with a new certificate and key; it was \
         left as it is"
    )]
    NotTheSame,
}

/// What prevents replacing one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// An alias, a merge key, or an anchor that one of them names.
    #[error("an anchor shares it with another place; write it out")]
    Shared,
    /// `!!str`, `!!binary` or an application's own tag.
    #[error("it has a tag; remove the tag")]
    Tagged,
    /// The value that is read differs from the text that is written: escapes.
    #[error("it is written with escapes; write it as it is")]
    Escaped,
}
