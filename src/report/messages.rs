//! The kinds of journal lines. Each has an id, by which `journalctl -x` finds its explanation in
//! `packaging/kubecertd.catalog`, and programs find the line whatever its text is.

macro_rules! messages {
    ($($(#[$doc:meta])* $message:ident = $id:literal;)*) => {
        /// The kind of a line. A test compares the list with the catalog.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Message { $($(#[$doc])* $message),* }

        impl Message {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$message),*];

            /// The id, which never changes: a random one of 128 bits, in hex.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$message => $id),* }
            }
        }
    };
}

messages! {
    /// The daemon has started.
    Started = "5612a1713456402c971f73ed97342f79";
    /// The daemon stops.
    Stopped = "84510c8220e3441ca2c50a357e17e2f5";
    /// The configuration was read again and is in force.
    ConfigurationInForce = "1d5248a085f04914ae38d707e0e86484";
    /// The configuration is wrong, and an earlier one is in force.
    ConfigurationRefused = "ae530a6b235f4e6c93b73fa48037026f";
    /// A pass begins.
    PassBegun = "62371c7c9bef401ab823eb4ebe639cb4";
    /// A pass could not be made at all.
    PassNotMade = "a226b5aa4ad8423c959a643c923f6cd1";
    /// Something in a pass failed; the pass is made again.
    PassFailed = "db769250063944218bf6e37d13a606ce";
    /// A credential was renewed.
    Renewed = "f9b82007b0ff4aea855993b06bf7d9fb";
    /// A credential was not renewed, or is damaged.
    NotRenewed = "bafaf687d05e4a7ba37a45daef2fda70";
    /// A new certificate was rolled back, because its server refuses it.
    RolledBack = "ddf7a88844894a4aa2c87f346bbd9f08";
    /// The renewal of a credential is deferred.
    Deferred = "c51815fec7d64c79acd6ef1f2c921f1b";
    /// A credential is due, and the clock is not trusted for signing.
    ClockNotTrusted = "6b7d4b9aad374af4ae7b05f79aeb2245";
    /// A service uses the renewed credential without a restart.
    ServiceReloaded = "5b33ca2b6bf5495cb4260cbb61a23975";
    /// A service was restarted or signalled, and uses the renewed credential.
    ServiceRestarted = "e16836d7d5bf4b38bda457477bdb4e9f";
    /// A service does not use the renewed credential.
    ServiceNotUpdated = "4a06deaf5d5a49c4b448019d57f8b405";
    /// The restart of a service is deferred.
    ServiceDeferred = "a593612a3986481893810edd10c121a7";
    /// A service is restarted when another node of the cluster has done so.
    TurnAwaited = "0f3fb4e1a9a34d0c9f7a2b5d6c81e7f4";
    /// A step of a rotation of the root CA was made on this node.
    RotationStep = "7d1be2c45f2a4bd2a3d9c94eb55b0f61";
    /// The nodes agreed on a level of a rotation of the root CA.
    RotationLevel = "c3a9b7dc64e84bd09c2e5e0a2f6d4e18";
    /// A rotation of the root CA is over.
    RotationOver = "49f0a2f7a3c84c6f8f0e8f7d1b5c6a92";
    /// An interrupted renewal was completed.
    RecoveryFinished = "3925f5bc4153447e9eaf2a159bde2d44";
    /// An interrupted renewal was dropped, because another program changed its files since.
    RecoveryDropped = "612575330a22405c86326916e93a9a8d";
    /// A finding about services, for operators.
    Finding = "2fe867524eaf43fea8816dd1b2244073";
    /// A state that was logged before is over.
    Over = "cbd9808bf6a9400ea544d2683321cfbc";
    /// An alarm was raised, or concerns more or fewer objects than before.
    AlarmRaised = "0349ba26a3ac4d449a77bd5d96736ad2";
    /// An alarm was cleared.
    AlarmCleared = "df7dd78f0779477998f745b6dd492829";
    /// Alarms could not be delivered to a sink.
    DeliveryFailed = "bfffb77a46bd4a7da27a46b781ae707c";
    /// All alarms were delivered to a sink after a failure.
    DeliveryRecovered = "22eae80ef6f946d0baaf46d207799121";
    /// A fault in kubecertd itself.
    Fault = "6cf2732594c2498eb4bba590fd225ce0";
    /// A note for operators.
    Note = "b2c5b749ea414b198f2a26a8a97c9a98";
}

#[cfg(test)]
mod tests;
