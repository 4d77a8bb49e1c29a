//! Reads the document, element by element, without recursion.

use hookmill_plugin::{Error, Result};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event as Xml};
use quick_xml::reader::Reader;
use serde_json::{Map, Value};

use crate::Config;

/// An element that is not closed yet.
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
}

struct Document<'a> {
    config: &'a Config,
    /// From the outermost to the one that is being read.
    open: Vec<Element>,
    /// The outermost one under its name, once it is closed.
    read: Option<Map<String, Value>>,
}

pub(crate) fn read(xml: &str, config: &Config) -> Result<Value> {
    // A byte order mark is no text.
    let mut reader = Reader::from_str(xml.strip_prefix('\u{feff}').unwrap_or(xml));
    let mut document = Document {
        config,
        open: Vec::new(),
        read: None,
    };
    loop {
        let at = reader.buffer_position();
        let place = |error: Error| error.context(format!("at byte {at}"));
        match reader.read_event().map_err(|error| place(error.into()))? {
            Xml::Eof => break,
            event => document.take(event).map_err(place)?,
        }
    }
    if let Some(element) = document.open.last() {
        return Err(Error::new(format!("<{}> is not closed", element.name)));
    }
    let read = document.read.map(Value::Object);
    read.ok_or_else(|| Error::new("there is no element"))
}

impl Document<'_> {
    fn take(&mut self, event: Xml<'_>) -> Result<()> {
        match event {
            Xml::Start(start) => self.open(&start)?,
            Xml::Empty(start) => {
                self.open(&start)?;
                self.close();
            }
            // The reader has compared the names.
            Xml::End(_) => self.close(),
            Xml::Text(text) => self.text(&text.xml10_content())?,
            Xml::CData(text) => self.text(&text.xml10_content())?,
            Xml::GeneralRef(reference) => self.reference(&reference)?,
            Xml::DocType(_) => return Err(Error::new("a document type is not taken")),
            Xml::Comment(_) | Xml::Decl(_) | Xml::PI(_) | Xml::Eof => {}
        }
        Ok(())
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<()> {
        if self.read.is_some() {
            return Err(Error::new("there is a second outermost element"));
        }
        if self.open.len() == self.config.depth {
            let depth = self.config.depth;
            return Err(Error::new(format!("more than {depth} levels of elements")));
        }
        let mut members = Map::new();
        for attribute in start.attributes() {
            let attribute = attribute?;
            let name = attribute.key.into_inner();
            if self.config.strip_prefixes && (name == "xmlns" || name.starts_with("xmlns:")) {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
            let name = format!("{}{}", self.config.attribute_prefix, self.name(name));
            members.insert(name, value.into());
        }
        self.open.push(Element {
            name: self.name(start.name().into_inner()).to_owned(),
            members,
            text: String::new(),
        });
        Ok(())
    }

    fn name<'n>(&self, name: &'n str) -> &'n str {
        match name.split_once(':') {
            Some((_, local)) if self.config.strip_prefixes => local,
            _ => name,
        }
    }

    fn close(&mut self) {
        let Some(element) = self.open.pop() else {
            return;
        };
        let text = element.text.trim();
        let mut members = element.members;
        let value = if members.is_empty() {
            if text.is_empty() {
                Value::Null
            } else {
                text.into()
            }
        } else {
            if !text.is_empty() {
                members.insert(self.config.text_name.clone(), text.into());
            }
            Value::Object(members)
        };
        match self.open.last_mut() {
            Some(parent) => add(&mut parent.members, element.name, value, &self.config.lists),
            None => self.read = Some(Map::from_iter([(element.name, value)])),
        }
    }

    fn text(&mut self, text: &str) -> Result<()> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(Error::new("there is text outside of the outermost element")),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<()> {
        if let Some(character) = reference.resolve_char_ref()? {
            return self.text(character.encode_utf8(&mut [0; 4]));
        }
        let name = reference.xml10_content();
        match resolve_predefined_entity(&name) {
            Some(text) => self.text(text),
            None => Err(Error::new(format!("the entity &{name}; is not known"))),
        }
    }
}

/// Adds a value under a name; a second one makes an array of both. No value is an array before, so one is such a list.
fn add(members: &mut Map<String, Value>, name: String, value: Value, lists: &[String]) {
    match members.get_mut(&name) {
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None if lists.contains(&name) => {
            members.insert(name, Value::Array(vec![value]));
        }
        None => {
            members.insert(name, value);
        }
    }
}
