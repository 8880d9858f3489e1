//! Owns starting a chat through the site's own endpoint. Source: §6.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chat_core::{Continues, Error, ErrorKind, Extent, Result, Secret, StartRequest, TextFormat};
use chat_net::{
    Net,
    http::{Operation, RequestTimeout},
};
use http::{HeaderName, HeaderValue, Request, header};
use serde_json::Value;

use super::{
    details::Details,
    service::{failure, text},
    tap::Tap,
};
use crate::{
    config::{ResponseMode, StartChat, check_attributes},
    error::unexpected,
    wire::{
        ContentType,
        control::{InitialMessage, ParticipantConfiguration, ParticipantDetails, PersistentChat},
        start_chat::{Attributes, StartChatAnswer, StartChatRequest},
    },
};

/// The longest chat that the vendor allows, in minutes.
const LONGEST: i64 = 10_080;

/// What an endpoint answered, for [`MapAnswer`].
#[derive(Debug, Clone)]
pub struct StartedContact {
    /// The new contact.
    pub contact_id: String,
    /// The customer.
    pub participant_id: String,
    /// The customer's token.
    pub participant_token: Secret,
}

/// Finds the new contact in the answer of an endpoint with a shape of its own. `None` falls back to the known shapes.
#[derive(Clone)]
pub struct MapAnswer(Arc<MapFn>);

type MapFn = dyn Fn(&Value) -> Option<StartedContact> + Send + Sync;

impl MapAnswer {
    /// Takes a function.
    pub fn new(map: impl Fn(&Value) -> Option<StartedContact> + Send + Sync + 'static) -> Self {
        Self(Arc::new(map))
    }
}

impl fmt::Debug for MapAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapAnswer(..)")
    }
}

/// As it stands on the wire.
pub(crate) fn content_type(format: &TextFormat) -> &str {
    match format {
        TextFormat::Plain => ContentType::Plain.as_str(),
        TextFormat::Markdown => ContentType::Markdown.as_str(),
        TextFormat::Json => ContentType::Json.as_str(),
        TextFormat::InteractiveResponse | TextFormat::PageTurn => ContentType::InteractiveResponse.as_str(),
        TextFormat::Other(other) => other,
        _ => ContentType::Plain.as_str(),
    }
}

/// What the application can show, as content types. Interactive messages come with their responses.
fn content_types(formats: &[TextFormat]) -> Vec<String> {
    let all = [
        ContentType::Plain,
        ContentType::Markdown,
        ContentType::Json,
        ContentType::Interactive,
        ContentType::InteractiveResponse,
    ];
    if formats.is_empty() {
        return all.map(|kind| kind.as_str().to_owned()).to_vec();
    }
    let mut list = vec![ContentType::Plain.as_str().to_owned()];
    let mut add = |kind: &str| {
        if !list.iter().any(|listed| listed == kind) {
            list.push(kind.to_owned());
        }
    };
    for format in formats {
        if *format == TextFormat::InteractiveResponse {
            add(ContentType::Interactive.as_str());
        }
        add(content_type(format));
    }
    list
}

/// The body for the endpoint, and what of it the chat remembers.
pub(crate) fn request(config: &StartChat, request: &StartRequest) -> Result<(Value, String, Vec<String>)> {
    let display_name = request.display_name().unwrap_or_else(|| config.display_name.clone());
    if display_name.chars().count() > 256 {
        let actual = display_name.chars().count() as u64;
        return Err(Error::too_large("display name", actual, 256, "characters"));
    }
    let mut attributes = config.attributes.clone();
    let own = [
        ("customerName", Some(&display_name)),
        ("firstName", request.first_name.as_ref()),
        ("lastName", request.last_name.as_ref()),
        ("email", request.email.as_ref()),
        ("subject", request.subject.as_ref()),
    ];
    for (key, value) in own {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            attributes.insert(key.to_owned(), value.clone());
        }
    }
    attributes.extend(request.user_data.0.clone());
    let mut vendor = request.vendor.clone();
    if let Some(Value::Object(more)) = vendor.get("Attributes") {
        let more: BTreeMap<String, String> = more
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                _ => Err(Error::invalid_input(format!("attribute {key:?} is not a text"))),
            })
            .collect::<Result<_>>()?;
        attributes.extend(more);
        vendor.remove("Attributes");
    }
    check_attributes(&attributes)?;
    let content_types = content_types(&request.formats);
    let body = StartChatRequest {
        instance_id: config.instance_id.clone(),
        contact_flow_id: config.contact_flow_id.clone(),
        participant_details: Some(ParticipantDetails {
            display_name: Some(display_name.clone()),
            ..ParticipantDetails::default()
        }),
        attributes: Some(match config.attributes_as_text {
            false => Attributes::Map(attributes),
            true => Attributes::Text(
                serde_json::to_string(&attributes)
                    .map_err(|_| Error::new(ErrorKind::Internal, "attributes that cannot be written"))?,
            ),
        }),
        supported_messaging_content_types: Some(content_types.clone()),
        initial_message: request.initial_message.as_ref().map(|text| InitialMessage {
            content_type: Some(content_type(&text.format).to_owned()),
            content: Some((*text.body).to_owned()),
        }),
        chat_duration_in_minutes: config
            .duration_minutes
            .map(i64::from)
            .or(request.asynchronous.then_some(LONGEST)),
        persistent_chat: request.continues.as_ref().map(|Continues { source, extent }| PersistentChat {
            rehydration_type: Some(
                match extent {
                    Extent::FromSegment => "FROM_SEGMENT",
                    _ => "ENTIRE_PAST_SESSION",
                }
                .to_owned(),
            ),
            source_contact_id: Some(source.clone()),
        }),
        participant_configuration: config.response_mode.map(|mode| ParticipantConfiguration {
            response_mode: Some(
                match mode {
                    ResponseMode::Incremental => "INCREMENTAL",
                    ResponseMode::Complete => "COMPLETE",
                }
                .to_owned(),
            ),
        }),
        client_token: request.key.as_ref().map(|key| key.as_str().to_owned()),
        extra: serde_json::Map::new(),
    };
    let mut body = serde_json::to_value(body)
        .map_err(|_| Error::new(ErrorKind::Internal, "a request that cannot be written"))?;
    if let Value::Object(members) = &mut body {
        members.extend(vendor);
    }
    Ok((body, display_name, content_types))
}

/// One call of the endpoint.
pub(crate) async fn start(
    net: &Net,
    config: &StartChat,
    map: Option<&MapAnswer>,
    start: &StartRequest,
    tap: &Tap,
) -> Result<Details> {
    const OPERATION: &str = "start chat";
    let (body, display_name, content_types) = request(config, start)?;
    let mut http = Request::post(config.url.expose())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .extension(Operation(OPERATION))
        .extension(RequestTimeout(config.timeout))
        .body(body.to_string().into())
        .map_err(|_| Error::new(ErrorKind::Config, "the start-chat URL is no URL"))?;
    for (name, value) in &config.headers {
        let (name, value) = header_of(name, value)?;
        http.headers_mut().insert(name, value);
    }
    let reply = net.http().send(http).await?;
    if !reply.status.is_success() {
        return Err(failure(&reply).of_start_chat());
    }
    reply.json(OPERATION)?;
    let body: Value = serde_json::from_str(text(&reply)?).map_err(|_| unexpected(OPERATION))?;
    let mapped = map.and_then(|map| (map.0)(&body)).map(|contact| {
        StartChatAnswer::new(contact.contact_id, contact.participant_id, contact.participant_token)
    });
    let answer = mapped.or_else(|| StartChatAnswer::find(&body)).ok_or_else(|| {
        // A 200 that holds an error instead is not unheard of.
        let found = failure(&reply).of_start_chat();
        match found.vendor().code {
            Some(_) => found,
            None => unexpected("start chat: the answer holds no contact"),
        }
    })?;
    tap.show(OPERATION, &reply.body, &answer.participant_token);
    let mut details = Details::started(answer);
    details.display_name = Some(display_name);
    details.content_types = Some(content_types);
    details.started_at = reply.server_date();
    Ok(details)
}

/// # Errors
/// `Config` if they are no header.
pub(crate) fn header_of(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue)> {
    let header = HeaderName::try_from(name)
        .map_err(|_| Error::new(ErrorKind::Config, "the name of a start-chat header is not valid"))?;
    let mut value = HeaderValue::try_from(value.expose()).map_err(|_| {
        Error::new(ErrorKind::Config, format!("the value of the start-chat header {header} is not valid"))
    })?;
    value.set_sensitive(true);
    Ok((header, value))
}

#[cfg(test)]
mod tests {
    use chat_core::{ClientToken, Text, UserData};
    use serde_json::json;

    use super::*;

    fn body(config: &StartChat, start: &StartRequest) -> Value {
        request(config, start).unwrap().0
    }

    #[test]
    fn a_start_request_becomes_the_widgets_request() {
        let config = StartChat::new("https://x").with_flow("i", "f").with_attribute("tier", "gold");
        let start = StartRequest {
            key: Some(ClientToken::from("k")),
            first_name: Some("Jane".into()),
            last_name: Some("Doe".into()),
            email: Some("jane@example.org".into()),
            subject: Some("Order".into()),
            user_data: UserData::new().with("tier", "silver").with("order", "4711"),
            initial_message: Some(Text::plain("Hello")),
            continues: Some(Continues { source: "past".into(), extent: Extent::FromSegment }),
            asynchronous: true,
            vendor: json!({"Username": "jane", "Attributes": {"extra": "1"}}).as_object().unwrap().clone(),
            ..StartRequest::default()
        };
        assert_eq!(
            body(&config, &start),
            json!({
                "InstanceId": "i", "ContactFlowId": "f", "Username": "jane",
                "ParticipantDetails": {"DisplayName": "Jane Doe"},
                "Attributes": {"customerName": "Jane Doe", "firstName": "Jane", "lastName": "Doe",
                    "email": "jane@example.org", "subject": "Order", "tier": "silver", "order": "4711", "extra": "1"},
                "SupportedMessagingContentTypes": ["text/plain", "text/markdown", "application/json",
                    "application/vnd.amazonaws.connect.message.interactive",
                    "application/vnd.amazonaws.connect.message.interactive.response"],
                "InitialMessage": {"ContentType": "text/plain", "Content": "Hello"},
                "PersistentChat": {"SourceContactId": "past", "RehydrationType": "FROM_SEGMENT"},
                "ChatDurationInMinutes": 10080,
                "ClientToken": "k",
            })
        );
    }

    #[test]
    fn attributes_can_go_as_text_and_are_checked_first() {
        let mut config = StartChat::new("https://x");
        config.attributes_as_text = true;
        let start = StartRequest::named("Jane");
        assert_eq!(body(&config, &start)["Attributes"], json!(r#"{"customerName":"Jane"}"#));

        let refused = |data: UserData| {
            let start = StartRequest { user_data: data, ..StartRequest::default() };
            request(&config, &start).unwrap_err().kind().clone()
        };
        assert_eq!(refused(UserData::new().with("no blanks", "x")), ErrorKind::InvalidInput);
        assert!(matches!(refused(UserData::new().with("k", "x".repeat(40_000))), ErrorKind::TooLarge { .. }));
    }

    #[test]
    fn formats_are_announced() {
        let start =
            StartRequest { formats: vec![TextFormat::InteractiveResponse], ..StartRequest::default() };
        assert_eq!(
            request(&StartChat::new("https://x"), &start).unwrap().2,
            [
                "text/plain",
                "application/vnd.amazonaws.connect.message.interactive",
                "application/vnd.amazonaws.connect.message.interactive.response"
            ]
        );
    }
}
