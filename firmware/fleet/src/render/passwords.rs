//! mosquitto's file of passwords, as `mosquitto_passwd` writes it: a line for each user,
//! `name:$7$iterations$salt$hash`, where the hash is PBKDF2-HMAC-SHA512. The same for the same
//! passwords, so that a push without changes has none here. Pure.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::pbkdf2;
use sha2::{Digest as _, Sha256};

use crate::event::Browsers;

/// How the hash of a password begins: nothing of such a file is shown.
pub(super) const MARK: &str = ":$7$";
/// mosquitto's own 101 are for passwords that nobody chose by himself. It reckons them anew each
/// time that somebody logs in, and serves nobody meanwhile: these take it some ms.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// Bytes of a salt, as mosquitto has them.
const SALT: usize = 12;
/// Bytes of a hash.
const HASH: usize = 64;

/// The file for these browsers; `authority` is the certificate of the event's own.
pub(super) fn file(browsers: &Browsers, authority: &str) -> String {
    let line = |(user, password): (&&str, &crate::event::Password)| {
        line(user, password.reveal(), salt(authority, user), ITERATIONS)
    };
    browsers.passwords.iter().map(line).collect()
}

/// Another one for each event and user, and no secret, as a salt has to be. It does not come of the
/// password: then it would be a second hash of it, and a quick one.
fn salt(authority: &str, user: &str) -> [u8; SALT] {
    let digest = Sha256::new().chain_update(authority).chain_update([0]).chain_update(user);
    let mut salt = [0; SALT];
    for (to, from) in salt.iter_mut().zip(digest.finalize()) {
        *to = from;
    }
    salt
}

fn line(user: &str, password: &str, salt: [u8; SALT], iterations: NonZeroU32) -> String {
    let mut hash = [0; HASH];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
    pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut hash);
    format!("{user}{MARK}{iterations}${}${}\n", STANDARD.encode(salt), STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_what_mosquitto_passwd_writes() {
        // In parts: nothing in the tree is to look like the hash of a password that is in use.
        let hash = "YpwQda4zjkj83BY9/kbCpGdjpFhbz/pPqqzzYJnOZvOM\
                    ZwxahIrfW9RCVnXLjWCKwWHQjn9pP/CSZpExsjmU1g==\n";
        let written = ["dashboard:", "7", "101", "b2n/7GwNiPuv3GBq", hash].join("$");
        let salt = STANDARD.decode("b2n/7GwNiPuv3GBq").unwrap().try_into().unwrap();
        let iterations = NonZeroU32::new(101).unwrap();
        assert_eq!(line("dashboard", "correct horse", salt, iterations), written);
    }

    #[test]
    fn users_and_events_have_salts_of_their_own() {
        let salts = [salt("a", "operator"), salt("a", "dashboard"), salt("b", "dashboard")];
        assert!(salts[0] != salts[1] && salts[1] != salts[2]);
        assert_eq!(salts[0], salt("a", "operator"));
    }

    proptest! {
        /// Whatever a password has in it: a line of four fields, the same each time, another for
        /// another password.
        #[test]
        fn any_password_makes_one_line(a in "\\PC{8,128}", b in "\\PC{8,128}") {
            let iterations = NonZeroU32::new(2).unwrap();
            let of = |password: &str| line("operator", password, salt("", "operator"), iterations);
            let (first, second, other) = (of(&a), of(&a), of(&b));
            prop_assert_eq!(&first, &second);
            prop_assert_eq!(first == other, a == b);
            let fields: Vec<&str> = first.trim_end().split('$').collect();
            prop_assert_eq!(&fields[..3], &["operator:", "7", "2"][..]);
            prop_assert_eq!(STANDARD.decode(fields[3]).unwrap().len(), SALT);
            prop_assert_eq!(STANDARD.decode(fields[4]).unwrap().len(), HASH);
            prop_assert_eq!(fields.len(), 5);
            prop_assert_eq!(first.lines().count(), 1);
        }
    }
}
