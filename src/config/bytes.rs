//! Numbers of bytes as people write them, in RabbitMQ's notation (its guide to `disk_free_limit`).

/// What the letter of a unit stands for, in powers of 1000 or 1024.
const LETTERS: [char; 5] = ['k', 'm', 'g', 't', 'p'];

/// The number of bytes that `text` means: `1000`, `1k`, `1kB`, `1Ki`, `1KiB` and so on, in upper or lower case.
pub(super) fn parse(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    digits.parse::<u64>().ok()?.checked_mul(factor(&unit.to_ascii_lowercase())?)
}

fn factor(unit: &str) -> Option<u64> {
    let Some(letter) = unit.chars().next() else { return Some(1) };
    let power = LETTERS.iter().position(|known| *known == letter)? as u32 + 1;
    match &unit[1..] {
        "" | "b" => Some(1000_u64.pow(power)),
        "i" | "ib" => Some(1024_u64.pow(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let cases = [
            ("0", 0),
            ("50000000", 50_000_000),
            ("50MB", 50_000_000),
            ("50mb", 50_000_000),
            ("3k", 3000),
            ("2Ki", 2048),
            ("2KiB", 2048),
            ("1GiB", 1 << 30),
            ("1t", 1_000_000_000_000),
            ("1PIB", 1 << 50),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "1.5GB", "1 MB", "1B", "1MBB", "1é", "99999999999999999999", "99999P"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
