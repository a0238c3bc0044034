//! Unicode's normal forms.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use crate::gives;
use crate::rows::map_texts;
use crate::scalar::{ONE, Scalar, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("normalizeUTF8NFC", ONE, gives::text, |arguments| {
            let form = ComposingNormalizerBorrowed::new_nfc();
            map_texts(&arguments[0], |text| Some(form.normalize(text).into_owned()))
        }),
        scalar("normalizeUTF8NFD", ONE, gives::text, |arguments| {
            let form = DecomposingNormalizerBorrowed::new_nfd();
            map_texts(&arguments[0], |text| Some(form.normalize(text).into_owned()))
        }),
        scalar("normalizeUTF8NFKC", ONE, gives::text, |arguments| {
            let form = ComposingNormalizerBorrowed::new_nfkc();
            map_texts(&arguments[0], |text| Some(form.normalize(text).into_owned()))
        }),
        scalar("normalizeUTF8NFKD", ONE, gives::text, |arguments| {
            let form = DecomposingNormalizerBorrowed::new_nfkd();
            map_texts(&arguments[0], |text| Some(form.normalize(text).into_owned()))
        }),
    ]
}
