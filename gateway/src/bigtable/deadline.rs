use axum::http::HeaderMap;
use common::{Error, Result};
use std::time::Duration;

const HEADER: &str = "grpc-timeout";
/// Digits that the protocol allows.
const DIGITS: usize = 8;

/// How long the caller waits for an answer, if it says so.
///
/// # Errors
/// `InvalidArgument` for what is no time.
pub fn of(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let wrong = || Error::invalid(format!("header {HEADER} is {value:?}: write up to {DIGITS} digits and one of H M S m u n"));
    let text = value.to_str().map_err(|_| wrong())?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    if !(1..=DIGITS).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return Err(wrong()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Duration>> {
        of(&HeaderMap::from_iter([(axum::http::HeaderName::from_static(HEADER), text.parse().unwrap())]))
    }

    #[test]
    fn times_are_read_in_all_units() {
        assert_eq!(of(&HeaderMap::new()).unwrap(), None);
        let times =
            [("2H", 7_200_000_000_000), ("3M", 180_000_000_000), ("5S", 5_000_000_000), ("7m", 7_000_000), ("11u", 11_000), ("13n", 13)];
        for (text, nanos) in times {
            assert_eq!(parsed(text).unwrap(), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(parsed("99999999H").unwrap(), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "S", "5", "5s", "-5S", "123456789S", "1.5S"] {
            assert!(parsed(wrong).unwrap_err().message.contains("grpc-timeout"), "{wrong}");
        }
    }
}
