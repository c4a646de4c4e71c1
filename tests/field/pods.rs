//! Static pods that say their flags otherwise, and other users of renewed files.
