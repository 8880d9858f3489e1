//! Owns the parameters of calls, and their three carriers: form pairs, CometD data and the companion's parts (§2, §9.2, §9.3).
//!
//! Reading is strict: it is what the service does with a client's call.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use chat_core::{Secret, UserData};
use serde_json::{Map, Value};

use super::{operation::Operation, position::Position, reply::Identity};

/// User data that ask for an asynchronous chat (§2).
const ASYNC_MODE: &str = "GCTI_Chat_AsyncMode";

/// The parameters of a call; each operation takes some of them. `None` is not written, and nothing is checked for being needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameters {
    /// Which chat, and who in it. Over REST the chat's id stands in the path.
    pub identity: Identity,
    /// Which file. Over REST it stands in the path.
    pub file_id: Option<String>,
    /// The name to show.
    pub nickname: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// What the chat is about.
    pub subject: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// The routing endpoint.
    pub endpoint: Option<String>,
    /// The message, preview or notice. May be empty: a preview that was deleted.
    pub message: Option<String>,
    /// Any text; comes back with the message.
    pub message_type: Option<String>,
    /// The URL to push.
    pub push_url: Option<String>,
    /// From where on the answer holds the transcript.
    pub position: Option<Position>,
    /// Of read receipts: the newest index that was read. Travels as `transcriptPosition`, too.
    pub read_up_to: Option<u64>,
    /// Data for agents and strategies.
    pub user_data: UserData,
    /// The service's basic authentication, where CometD data carry it.
    pub auth: Option<Auth>,
    /// Anything else, under its name.
    pub other: BTreeMap<String, String>,
}

/// Credentials in CometD data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// As they are.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// User and password with a colon between them, in Base64.
    Encoded(Secret),
}

/// A call cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// Which parameter; empty for the whole call.
    pub parameter: Cow<'static, str>,
    /// What it should be.
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameter, expected } = self;
        if parameter.is_empty() {
            write!(f, "not {expected}")
        } else {
            write!(f, "{parameter} is not {expected}")
        }
    }
}

impl std::error::Error for Malformed {}

fn malformed(parameter: impl Into<Cow<'static, str>>, expected: &'static str) -> Malformed {
    Malformed { parameter: parameter.into(), expected }
}

const OPERATION: &str = "operation";
const POSITION: &str = "transcriptPosition";
const USER_DATA: &str = "userData";
const AUTH: &str = "auth";
const CHAT_ID: &str = "chatId";
const FILE_ID: &str = "fileId";

/// The parameters that are plain texts, in the order in which they are written. Whether an empty one says something.
macro_rules! texts {
    ($all:ident, $each:ident) => {
        $each!($all, "nickname", nickname, false);
        $each!($all, "firstName", first_name, false);
        $each!($all, "lastName", last_name, false);
        $each!($all, "subject", subject, false);
        $each!($all, "emailAddress", email, false);
        $each!($all, "endpoint", endpoint, false);
        $each!($all, "message", message, true);
        $each!($all, "messageType", message_type, false);
        $each!($all, "pushUrl", push_url, false);
    };
}

impl Parameters {
    /// Parameters of a chat's party.
    pub fn of(identity: Identity) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Whether a start asks for an asynchronous chat (§2).
    pub fn is_asynchronous(&self) -> bool {
        self.user_data.0.get(ASYNC_MODE).is_some_and(|text| text == "true")
    }

    /// Asks for an asynchronous chat, unless the user data say already what is wanted.
    pub fn ask_asynchronous(&mut self) {
        self.user_data.0.entry(ASYNC_MODE.to_owned()).or_insert_with(|| "true".to_owned());
    }

    /// The pairs of a REST call, before encoding. They hold the key of the chat.
    pub fn to_pairs(&self, operation: Operation) -> Vec<(Cow<'static, str>, String)> {
        let mut pairs = Vec::new();
        let mut push = |key: &'static str, value: Option<&str>| {
            pairs.extend(value.map(|value| (Cow::Borrowed(key), value.to_owned())));
        };
        push("userId", self.identity.user_id.as_deref());
        push("secureKey", self.identity.secure_key.as_ref().map(Secret::expose));
        push("alias", self.identity.alias.as_deref());
        macro_rules! write {
            ($push:ident, $key:literal, $field:ident, $empty:literal) => {
                $push($key, self.$field.as_deref());
            };
        }
        texts!(push, write);
        let position = self.position_number(operation).map(|number| number.to_string());
        push(POSITION, position.as_deref());
        let data = self.user_data.0.iter();
        pairs.extend(data.map(|(key, value)| (Cow::Owned(format!("{USER_DATA}[{key}]")), value.clone())));
        pairs.extend(self.other.iter().map(|(key, value)| (Cow::Owned(key.clone()), value.clone())));
        pairs
    }

    /// The body of a REST call, percent-encoded. It holds the key of the chat.
    pub fn to_form(&self, operation: Operation) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(self.to_pairs(operation)).finish()
    }

    /// The parts of a call to the companion for files, without the file itself. They hold the key of the chat.
    pub fn to_companion(&self, operation: Operation) -> Vec<(Cow<'static, str>, String)> {
        let mut parts = vec![(Cow::Borrowed(OPERATION), operation.name().to_owned())];
        parts.extend(self.to_pairs(operation));
        parts.extend(self.file_id.clone().map(|id| (Cow::Borrowed(FILE_ID), id)));
        parts
    }

    /// The data of a CometD message. They hold the key of the chat.
    pub fn to_data(&self, operation: Operation) -> Map<String, Value> {
        let mut data = Map::new();
        for (key, value) in &self.other {
            data.insert(key.clone(), value.as_str().into());
        }
        data.insert(OPERATION.into(), operation.name().into());
        let mut insert = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                data.insert(key.into(), value.into());
            }
        };
        insert(CHAT_ID, self.identity.chat_id.as_deref());
        insert("userId", self.identity.user_id.as_deref());
        insert("secureKey", self.identity.secure_key.as_ref().map(Secret::expose));
        insert("alias", self.identity.alias.as_deref());
        macro_rules! write {
            ($insert:ident, $key:literal, $field:ident, $empty:literal) => {
                $insert($key, self.$field.as_deref());
            };
        }
        texts!(insert, write);
        if let Some(number) = self.position_number(operation) {
            data.insert(POSITION.into(), number.into());
        }
        if !self.user_data.0.is_empty() {
            let texts = self.user_data.0.iter();
            let texts = texts.map(|(key, value)| (key.clone(), value.as_str().into())).collect();
            data.insert(USER_DATA.into(), Value::Object(texts));
        }
        if let Some(auth) = &self.auth {
            let members = match auth {
                Auth::Basic { username, password } => {
                    vec![("username", username.as_str()), ("password", password.expose())]
                }
                Auth::Encoded(text) => vec![("encoded", text.expose())],
            };
            let members = members.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            data.insert(AUTH.into(), Value::Object(members));
        }
        data
    }

    /// Reads the pairs of a REST call, decoded; of two with one name, the later counts. The ids of its path are not among them:
    /// see [`Operation::from_rest_path`].
    ///
    /// # Errors
    /// `transcriptPosition` is no position.
    pub fn from_pairs<K: AsRef<str>, V: AsRef<str>>(
        operation: Operation,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Malformed> {
        let mut parameters = Self::default();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.as_ref());
            if key == POSITION {
                parameters.set_position(operation, value)?;
            } else if let Some(key) =
                key.strip_prefix(USER_DATA).and_then(|key| key.strip_prefix('[')?.strip_suffix(']'))
            {
                parameters.user_data.0.insert(key.to_owned(), value.to_owned());
            } else {
                parameters.set_text(key, value);
            }
        }
        Ok(parameters)
    }

    /// Reads the body of a REST call.
    ///
    /// # Errors
    /// As [`from_pairs`](Self::from_pairs).
    pub fn from_form(operation: Operation, body: &[u8]) -> Result<Self, Malformed> {
        Self::from_pairs(operation, form_urlencoded::parse(body))
    }

    /// Reads the parts of a call to the companion for files, without the file itself.
    ///
    /// # Errors
    /// The operation is missing or unknown.
    pub fn from_companion<K: AsRef<str>, V: AsRef<str>>(
        parts: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Operation, Self), Malformed> {
        let mut parts: Vec<_> = parts.into_iter().collect();
        let named = parts.iter().position(|(key, _)| key.as_ref() == OPERATION);
        let (_, name) = named.map(|at| parts.remove(at)).ok_or(malformed(OPERATION, "there"))?;
        let operation =
            Operation::from_companion(name.as_ref()).ok_or(malformed(OPERATION, "an operation on files"))?;
        let mut parameters = Self::from_pairs(operation, parts)?;
        parameters.file_id = parameters.other.remove(FILE_ID).filter(|id| !id.is_empty());
        Ok((operation, parameters))
    }

    /// Reads the data of a CometD message, as JSON text.
    ///
    /// # Errors
    /// It is no JSON object; the operation is missing or unknown; a parameter has the wrong type.
    pub fn from_data(data: &str) -> Result<(Operation, Self), Malformed> {
        let data: Map<String, Value> =
            serde_json::from_str(data).map_err(|_| malformed("", "a JSON object"))?;
        let operation = match data.get(OPERATION) {
            Some(Value::String(name)) => Operation::from_channel(name),
            _ => None,
        };
        let operation = operation.ok_or(malformed(OPERATION, "a known operation"))?;
        let mut parameters = Self::default();
        for (key, value) in &data {
            match (key.as_str(), value) {
                (OPERATION, _) | (_, Value::Null) => {}
                (POSITION, Value::String(number)) => parameters.set_position(operation, number)?,
                (POSITION, Value::Number(number)) => {
                    parameters.set_position(operation, &number.to_string())?;
                }
                (POSITION, _) => return Err(malformed(POSITION, "a position")),
                (USER_DATA, value) => {
                    parameters.user_data =
                        UserData::from_json(value).map_err(|_| malformed(USER_DATA, "an object of texts"))?;
                }
                (AUTH, value) => parameters.auth = Some(read_auth(value)?),
                (CHAT_ID, Value::String(id)) => {
                    parameters.identity.chat_id = (!id.is_empty()).then(|| id.clone());
                }
                (key, Value::String(text)) => parameters.set_text(key, text),
                (key, _) if is_text(key) => return Err(malformed(key.to_owned(), "a text")),
                (key, value) => {
                    parameters.other.insert(key.to_owned(), value.to_string());
                }
            }
        }
        Ok((operation, parameters))
    }

    fn position_number(&self, operation: Operation) -> Option<i64> {
        match (operation, self.position) {
            (Operation::ReadReceipt, _) => {
                self.read_up_to.map(|up_to| i64::try_from(up_to).unwrap_or(i64::MAX))
            }
            (_, None) => None,
            (Operation::RequestNotifications, Some(position)) => position.to_notifications(),
            (_, Some(position)) => Some(position.to_refresh()),
        }
    }

    fn set_position(&mut self, operation: Operation, text: &str) -> Result<(), Malformed> {
        if text.is_empty() {
            return Ok(());
        }
        let refused = || malformed(POSITION, "a position");
        let number: i64 = text.parse().map_err(|_| refused())?;
        if operation == Operation::ReadReceipt {
            self.read_up_to = Some(u64::try_from(number).map_err(|_| refused())?);
            return Ok(());
        }
        let position = match operation {
            Operation::RequestNotifications => Position::from_notifications(number),
            _ => Position::from_refresh(number),
        };
        self.position = Some(position.ok_or_else(refused)?);
        Ok(())
    }

    /// An empty identity or name is absent: the vendor's widget always sends them all.
    fn set_text(&mut self, key: &str, value: &str) {
        let filled = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "userId" => self.identity.user_id = filled(),
            "secureKey" => self.identity.secure_key = filled().map(Secret::from),
            "alias" => self.identity.alias = filled(),
            _ => {
                macro_rules! read {
                    ($key:ident, $name:literal, $field:ident, $empty:literal) => {
                        if $key == $name {
                            self.$field = if $empty { Some(value.to_owned()) } else { filled() };
                            return;
                        }
                    };
                }
                texts!(key, read);
                self.other.insert(key.to_owned(), value.to_owned());
            }
        }
    }
}

/// Whether a parameter of this name is a text.
fn is_text(key: &str) -> bool {
    macro_rules! is {
        ($key:ident, $name:literal, $field:ident, $empty:literal) => {
            if $key == $name {
                return true;
            }
        };
    }
    texts!(key, is);
    matches!(key, "userId" | "secureKey" | "alias" | CHAT_ID)
}

fn read_auth(value: &Value) -> Result<Auth, Malformed> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    match (text("encoded"), text("username"), text("password")) {
        (Some(encoded), ..) => Ok(Auth::Encoded(encoded.into())),
        (None, Some(username), Some(password)) => {
            Ok(Auth::Basic { username: username.to_owned(), password: password.into() })
        }
        _ => Err(malformed(AUTH, "a pair of credentials")),
    }
}
