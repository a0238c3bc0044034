//! The session cookie as headers carry it.

use tonic::metadata::MetadataMap;

/// The cookie's name, as Flight's session specification has it.
pub const SESSION_COOKIE: &str = "arrow_flight_session_id";

/// The session cookie that a client sent back.
pub fn cookie_value(metadata: &MetadataMap) -> Option<String> {
    let headers = metadata.get_all("cookie");
    let texts = headers.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == SESSION_COOKIE).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The `set-cookie` value that gives a client its session; an empty `sealed` takes it away.
pub fn set_cookie(sealed: &str, idle_seconds_max: u64) -> String {
    let seconds = if sealed.is_empty() { 0 } else { idle_seconds_max };
    format!("{SESSION_COOKIE}={sealed}; Path=/; Max-Age={seconds}; HttpOnly")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let cases: [(&[&str], Option<&str>); 6] = [
            (&[], None),
            (&["a=b"], None),
            (&["arrow_flight_session_id=xyz"], Some("xyz")),
            (&["a=b; arrow_flight_session_id=xyz; c=d"], Some("xyz")),
            (&["a=b", "arrow_flight_session_id=\"xyz\""], Some("xyz")),
            (&["other_arrow_flight_session_id=xyz"], None),
        ];
        for (headers, wanted) in cases {
            let mut metadata = MetadataMap::new();
            for header in headers {
                metadata.append("cookie", header.parse().unwrap());
            }
            assert_eq!(cookie_value(&metadata).as_deref(), wanted, "{headers:?}");
        }
    }

    #[test]
    fn an_empty_value_removes_the_cookie() {
        assert!(set_cookie("", 60).contains("Max-Age=0"));
        assert!(set_cookie("x", 60).starts_with("arrow_flight_session_id=x;"));
    }
}
