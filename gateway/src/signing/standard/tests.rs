//! The table of signatures, and the published receiver library as a second opinion.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    accept: bool,
    why: String,
    brand: String,
    id: Option<String>,
    timestamp: Option<String>,
    signature: Option<String>,
    now: u64,
    tolerance: u64,
    verify_with: Vec<String>,
    #[serde(default)]
    sign_with: Vec<String>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Case {
    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(encoded)) => STANDARD.decode(encoded).unwrap(),
            _ => panic!("{}: one body", self.name),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (part, value) in [
            ("id", &self.id),
            ("timestamp", &self.timestamp),
            ("signature", &self.signature),
        ] {
            if let Some(value) = value {
                let name = format!("{}-{part}", self.brand);
                headers.insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
        }
        headers
    }

    fn verdict(&self) -> bool {
        let keys: Result<Vec<_>, _> = self
            .verify_with
            .iter()
            .map(|text| VerifyingKey::parse(text))
            .collect();
        let headers = self.headers();
        let (Ok(keys), Ok(found)) = (keys, SignedHeaders::find(&headers)) else {
            return false;
        };
        let now = Timestamp::from_millis(self.now * 1000);
        verify(
            &keys,
            &found,
            &self.body(),
            now,
            Duration::from_secs(self.tolerance),
        )
        .is_ok()
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../../tests/fixtures/signatures.json")).unwrap()
}

#[test]
fn every_case_is_judged_as_the_table_says() {
    let cases = cases();
    assert_eq!(cases.len(), 78);
    let wrong: Vec<_> = cases
        .iter()
        .filter(|case| case.verdict() != case.accept)
        .map(|case| format!("{} ({})", case.name, case.why))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn signing_gives_the_header_of_the_table() {
    let signed: Vec<_> = cases()
        .into_iter()
        .filter(|case| !case.sign_with.is_empty())
        .collect();
    assert_eq!(signed.len(), 17);
    for case in signed {
        let keys: Vec<_> = case
            .sign_with
            .iter()
            .map(|text| SigningKey::parse(text).unwrap())
            .collect();
        let seconds: u64 = case.timestamp.as_deref().unwrap().parse().unwrap();
        let at = Timestamp::from_millis(seconds * 1000 + 999);
        let id = case.id.as_deref().unwrap();
        assert_eq!(
            Some(sign(&keys, id, at, &case.body())),
            case.signature,
            "{}",
            case.name
        );
    }
}

#[test]
fn the_published_receiver_library_accepts_our_headers() {
    let now = jiff::Timestamp::now().as_millisecond();
    let now = Timestamp::from_millis(u64::try_from(now).unwrap());
    let keys = [
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    ];
    let body = r#"{"type":"invoice.paid","data":{"name":"Zoë"}}"#.as_bytes();
    let sent: HeaderMap = headers(&keys, "msg_1", now, body)
        .unwrap()
        .into_iter()
        .collect();

    for key in &keys {
        let receiver = standardwebhooks::Webhook::new(&key.expose()).unwrap();
        receiver.verify(body, &sent).unwrap();
        receiver.verify(b"{}", &sent).unwrap_err();
    }
    let other = SigningKey::generate().unwrap();
    let stranger = standardwebhooks::Webhook::new(&other.expose()).unwrap();
    stranger.verify(body, &sent).unwrap_err();
}

#[test]
fn both_sets_of_names_carry_the_same_values() {
    let keys = [SigningKey::generate().unwrap()];
    let sent: HeaderMap = headers(
        &keys,
        "msg_1",
        Timestamp::from_millis(1_700_000_000_123),
        b"x",
    )
    .unwrap()
    .into_iter()
    .collect();
    assert_eq!(sent["webhook-timestamp"], "1700000000");
    for part in ["id", "timestamp", "signature"] {
        assert_eq!(
            sent[format!("webhook-{part}")],
            sent[format!("svix-{part}")]
        );
    }
}

#[test]
fn a_key_survives_its_text_form_and_stays_hidden() {
    let ed25519 = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    for text in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ed25519] {
        let key = SigningKey::parse(text).unwrap();
        assert_eq!(*key.expose(), text);
        assert_eq!(
            format!("{key:?} {:?}", key.verifying_key()),
            "[redacted] [redacted]"
        );
    }
    let bare = SigningKey::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert_eq!(*bare.expose(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let public = SigningKey::parse(ed25519)
        .unwrap()
        .verifying_key()
        .public_text();
    assert_eq!(
        public.as_deref(),
        Some("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
    );
    let made = SigningKey::generate().unwrap().expose();
    assert_eq!(made.len(), "whsec_".len() + 32);
    assert_ne!(made, SigningKey::generate().unwrap().expose());
}

#[test]
fn texts_outside_the_contract_are_refused() {
    use crate::signing::KeyError;
    let parse = |text: &str| SigningKey::parse(text).unwrap_err();
    let of_bytes = |count: usize| format!("whsec_{}", STANDARD.encode(vec![7; count]));

    assert_eq!(parse(""), KeyError::Shape);
    assert_eq!(parse("whsec_short"), KeyError::Shape);
    assert_eq!(
        parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_"),
        KeyError::Shape
    );
    assert_eq!(
        parse("whsec_====MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        KeyError::Base64
    );
    assert_eq!(parse(&of_bytes(23)), KeyError::Length { given: 23 });
    assert_eq!(parse(&of_bytes(76)), KeyError::Shape);
    assert_eq!(
        parse("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="),
        KeyError::PublicKey
    );
    assert_eq!(
        parse("whsk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="),
        KeyError::Ed25519
    );
    SigningKey::parse(&of_bytes(24)).unwrap();
    SigningKey::parse(&of_bytes(75)).unwrap();
}
