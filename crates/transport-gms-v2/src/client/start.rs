//! Owns what a start asks for (§2, operation 1).

use chat_core::{Capability, Error, Result, StartRequest, UserData};
use serde_json::Value;

use super::TRANSPORT_ID;
use crate::{config::GmsConfig, wire::Parameters};

/// The parameters of a start.
///
/// | Field | Parameter |
/// |---|---|
/// | `nickname`, `first_name`, `last_name`, `subject`, `email` | `nickname`, `firstName`, `lastName`, `subject`, `emailAddress` |
/// | a name that is neither a nickname nor both others | `nickname` |
/// | `user_data` over [`GmsConfig::user_data`] | `userData[…]`, keys as they are, reserved ones included |
/// | `asynchronous` | `userData[GCTI_Chat_AsyncMode]`, unless given |
/// | `vendor` | parameters of the same names, over all of the above; its `userData` is merged |
///
/// `initial_message` is no part of it: it is sent once the chat stands.
///
/// # Errors
/// `InvalidInput` without any name, or for what is no parameter; `Unsupported` for what GMS has not.
pub(crate) fn parameters(
    config: &GmsConfig,
    request: &StartRequest,
    asynchronous: bool,
) -> Result<Parameters> {
    if request.continues.is_some() {
        return Err(Error::unsupported(Capability::Persistent, TRANSPORT_ID));
    }
    if request.asynchronous && !asynchronous {
        return Err(Error::unsupported(Capability::Async, TRANSPORT_ID));
    }
    let given = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let mut out = Parameters {
        nickname: given(&request.nickname),
        first_name: given(&request.first_name),
        last_name: given(&request.last_name),
        subject: given(&request.subject),
        email: given(&request.email),
        endpoint: config.endpoint.clone(),
        user_data: UserData(config.user_data.clone()).merged_under(&request.user_data),
        ..Parameters::default()
    };
    if request.asynchronous {
        out.ask_asynchronous();
    }
    for (key, value) in &request.vendor {
        vendor(&mut out, key, value)?;
    }
    if out.nickname.is_none() && !(out.first_name.is_some() && out.last_name.is_some()) {
        out.nickname = out.first_name.clone().or_else(|| out.last_name.clone());
    }
    if out.nickname.is_none() && out.first_name.is_none() {
        return Err(Error::invalid_input("a name is needed: a nickname, or first and last name"));
    }
    Ok(out)
}

/// The name that a chat starts under.
pub(crate) fn display_name(parameters: &Parameters) -> Option<String> {
    let Parameters { nickname, first_name, last_name, .. } = parameters;
    nickname.clone().or_else(|| Some(format!("{} {}", first_name.as_deref()?, last_name.as_deref()?)))
}

fn vendor(out: &mut Parameters, key: &str, value: &Value) -> Result<()> {
    if key == "userData" {
        let data = std::mem::take(&mut out.user_data);
        out.user_data = data.merged_under(&UserData::from_json(value)?);
        return Ok(());
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(on) => on.to_string(),
        _ => return Err(Error::invalid_input(format!("the vendor field {key:?} is not a text"))),
    };
    let known = match key {
        "nickname" => &mut out.nickname,
        "firstName" => &mut out.first_name,
        "lastName" => &mut out.last_name,
        "subject" => &mut out.subject,
        "emailAddress" => &mut out.email,
        "endpoint" => &mut out.endpoint,
        _ => {
            out.other.insert(key.to_owned(), text);
            return Ok(());
        }
    };
    *known = (!text.is_empty()).then_some(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use chat_core::{Continues, ErrorKind, Extent};
    use serde_json::json;

    use super::*;
    use crate::wire::Operation;

    fn pairs(request: &StartRequest) -> Vec<(String, String)> {
        let config = GmsConfig {
            endpoint: Some("sales".into()),
            user_data: [("tier".to_owned(), "gold".to_owned()), ("lang".into(), "en".into())].into(),
            ..GmsConfig::default()
        };
        let parameters = parameters(&config, request, true).unwrap();
        let pairs = parameters.to_pairs(Operation::RequestChat);
        pairs.into_iter().map(|(key, value)| (key.into_owned(), value)).collect()
    }

    fn refused(request: &StartRequest) -> ErrorKind {
        parameters(&GmsConfig::default(), request, false).unwrap_err().kind().clone()
    }

    #[test]
    fn every_field_has_its_place() {
        let request = StartRequest {
            nickname: Some(" Jonny ".into()),
            first_name: Some("John".into()),
            last_name: Some("Doe".into()),
            email: Some("jon@example.test".into()),
            subject: Some("a & b".into()),
            user_data: UserData::new().with("tier", "silver").with("_genesys_source", "mobile"),
            asynchronous: true,
            vendor: json!({"subject": "", "tenant": 7, "userData": {"lang": "tr"}})
                .as_object()
                .unwrap()
                .clone(),
            ..StartRequest::default()
        };
        let expected = [
            ("nickname", "Jonny"),
            ("firstName", "John"),
            ("lastName", "Doe"),
            ("emailAddress", "jon@example.test"),
            ("endpoint", "sales"),
            ("userData[GCTI_Chat_AsyncMode]", "true"),
            ("userData[_genesys_source]", "mobile"),
            ("userData[lang]", "tr"),
            ("userData[tier]", "silver"),
            ("tenant", "7"),
        ];
        assert_eq!(pairs(&request), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn reserved_keys_are_never_made_up() {
        let pairs = pairs(&StartRequest::named("Jonny"));
        assert!(!pairs.iter().any(|(key, _)| key.contains("GCTI_") || key.contains("_genesys")), "{pairs:?}");
    }

    #[test]
    fn one_of_two_names_is_a_nickname_and_none_is_refused() {
        let only = StartRequest { last_name: Some("Doe".into()), ..StartRequest::default() };
        assert!(pairs(&only).contains(&("nickname".into(), "Doe".into())));
        assert_eq!(refused(&StartRequest::default()), ErrorKind::InvalidInput);
        assert_eq!(refused(&StartRequest::named("  ")), ErrorKind::InvalidInput);
    }

    #[test]
    fn what_gms_has_not_is_refused_by_name() {
        let capability = |capability| ErrorKind::Unsupported { capability, transport: TRANSPORT_ID };
        let continues = Some(Continues { source: "c".into(), extent: Extent::EntirePast });
        assert_eq!(
            refused(&StartRequest { continues, ..StartRequest::named("J") }),
            capability(Capability::Persistent)
        );
        assert_eq!(
            refused(&StartRequest { asynchronous: true, ..StartRequest::named("J") }),
            capability(Capability::Async)
        );
        let vendor = json!({"nested": {}}).as_object().unwrap().clone();
        assert_eq!(refused(&StartRequest { vendor, ..StartRequest::named("J") }), ErrorKind::InvalidInput);
    }
}
