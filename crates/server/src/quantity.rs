//! Sizes and times as people write them, with a unit: the same in a file, in a flag and on a page.

use std::time::Duration;

/// Binary units, the largest first.
const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `64 MiB`, `64MiB`, or bytes without a unit.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(factor)
}

/// A size in the largest unit that leaves no rest.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let fits = SIZES.iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    let (unit, factor) = fits.copied().unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

/// Units of time in milliseconds, the largest first.
const TIMES: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// `500ms`, `10s`, `5m` or `1h`. A number without a unit is a guess, and none.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let factor = TIMES.iter().find(|(name, _)| *name == unit)?.1;
    number.checked_mul(factor).map(Duration::from_millis)
}

/// A time in the largest unit that leaves no rest.
pub(crate) fn time_text(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fits = TIMES.iter().find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor));
    let (unit, factor) = fits.copied().unwrap_or(("ms", 1));
    format!("{}{unit}", ms / factor)
}

/// A moment, given in milliseconds since 1970, in UTC and to the second.
pub(crate) fn moment_text(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1000 % 86_400);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Years that begin with March, so that the day that some have more is the last; 400 of them
    // are 146,097 days.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carried) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carried;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

/// A time of a flag, in milliseconds; the error is a sentence for its author.
pub(crate) fn parse_ms(typed: &str) -> Result<u64, String> {
    let ms = time(typed).and_then(|time| u64::try_from(time.as_millis()).ok());
    ms.filter(|ms| *ms > 0).ok_or_else(|| "write a time with its unit, as in 500ms, 30s, 5m".into())
}

/// A size of a flag, in bytes; the error is a sentence for its author.
pub(crate) fn parse_bytes(typed: &str) -> Result<u64, String> {
    bytes(typed)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a size, as in 1000 or 64KiB".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, number, shown) in [
            ("0", 0, "0 B"),
            ("1000", 1000, "1000 B"),
            ("64 MiB", 64 << 20, "64 MiB"),
            ("64MiB", 64 << 20, "64 MiB"),
            ("65536 KiB", 64 << 20, "64 MiB"),
            ("3 GiB", 3 << 30, "3 GiB"),
        ] {
            assert_eq!(bytes(text), Some(number), "{text}");
            assert_eq!(bytes_text(number), shown);
            assert_eq!(bytes(shown), Some(number), "{shown}");
        }
        for text in ["", "MiB", "-1", "1.5 MiB", "64 MB", "64 mib", "99999999 TiB", "1 MiB "] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn moments_are_dates() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (1_704_067_200, "2024-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment_text(seconds * 1000), shown);
        }
    }

    #[test]
    fn times_have_a_unit() {
        for (text, ms, shown) in [
            ("0ms", 0, "0ms"),
            ("1500ms", 1500, "1500ms"),
            ("10s", 10_000, "10s"),
            ("10 s", 10_000, "10s"),
            ("300s", 300_000, "5m"),
            ("2h", 7_200_000, "2h"),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(time_text(Duration::from_millis(ms)), shown);
        }
        for text in ["", "10", "s", "1.5s", "10 sec", "-1s", "99999999999999999h"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
