//! The numbers of frames, in two tables.

use std::fmt;

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        #[repr(u8)]
        pub enum $name { $($variant = $number,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The first byte of its frames.
            #[inline]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// Its name in the specification.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The one with that number.
            #[inline]
            pub const fn of(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.name())
            }
        }
    };
}

kinds! {
    /// What clients send.
    CommandKind {
        Publish = 0x01 "PUBLISH",
        Subscribe = 0x02 "SUBSCRIBE",
        Settle = 0x03 "SETTLE",
        Ping = 0x04 "PING",
        Connect = 0x05 "CONNECT",
        Unsubscribe = 0x06 "UNSUBSCRIBE",
        Credit = 0x07 "CREDIT",
        Pong = 0x08 "PONG",
        Get = 0x09 "GET",
        Line = 0x0b "LINE",
        Quit = 0x13 "QUIT",
    }
}

kinds! {
    /// What servers send.
    ReplyKind {
        Ok = 0x80 "OK",
        Confirm = 0x81 "CONFIRM",
        Deliver = 0x82 "DELIVER",
        Live = 0x83 "LIVE",
        LiveMore = 0x84 "LIVE with more",
        Ping = 0x85 "PING",
        Pong = 0x86 "PONG",
        Cancel = 0x87 "CANCEL",
        Return = 0x88 "RETURN",
        Blocked = 0x89 "BLOCKED",
        Unblocked = 0x8a "UNBLOCKED",
        Item = 0x8b "ITEM",
        Refused = 0x8f "REFUSED",
    }
}
