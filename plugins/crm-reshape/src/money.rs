//! Amounts in the smallest unit of a currency, as Stripe counts. <https://docs.stripe.com/currencies#zero-decimal>

/// Currencies that have no smaller unit.
const WHOLE: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Currencies of which a thousand units make one.
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// The amount as a decimal text. `currency` is upper case.
pub(crate) fn decimal(amount: i64, currency: &str) -> String {
    let digits = if WHOLE.contains(&currency) {
        0
    } else if THOUSANDTHS.contains(&currency) {
        3
    } else {
        2
    };
    let sign = if amount < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", amount.unsigned_abs(), width = digits + 1);
    let (whole, part) = text.split_at(text.len() - digits);
    match digits {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn units_are_the_currencys() {
        let cases = [
            (4990, "EUR", "49.90"),
            (5, "USD", "0.05"),
            (0, "USD", "0.00"),
            (-120, "GBP", "-1.20"),
            (500, "JPY", "500"),
            (5124, "KWD", "5.124"),
            (i64::MIN, "EUR", "-92233720368547758.08"),
        ];
        for (amount, currency, expected) in cases {
            assert_eq!(decimal(amount, currency), expected);
        }
    }
}
