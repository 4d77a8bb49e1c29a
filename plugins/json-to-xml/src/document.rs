//! Writes the document. It walks the payload's text, not a parsed value, which would lose order and numbers.

use hookmill_plugin::{Error, Result};
use hookmill_plugin_fields::Members;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event as Xml};
use quick_xml::name::QName;
use quick_xml::writer::Writer;
use serde_json::value::RawValue;

use crate::Config;
use crate::text::{escape, name};

/// How deep values may lie in each other; chosen, far beyond what people write and far below where the stack ends.
const DEPTH: usize = 100;
/// The outermost element where nothing else names it.
const ROOT: &str = "event";

pub(crate) struct Document<'a> {
    config: &'a Config,
    writer: Writer<Vec<u8>>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(config: &'a Config, size: usize) -> Self {
        Self {
            config,
            writer: Writer::new(Vec::with_capacity(size * 2)),
        }
    }

    pub(crate) fn write(mut self, payload: &RawValue) -> Result<Vec<u8>> {
        if self.config.declaration {
            let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
            self.writer.write_event(Xml::Decl(declaration))?;
        }
        match &self.config.root {
            Some(root) => self.outermost(root, payload)?,
            None => match only_member(payload)? {
                Some((name, value)) => self.element(&name, value, 0)?,
                None => self.outermost(ROOT, payload)?,
            },
        }
        Ok(self.writer.into_inner())
    }

    /// The outermost element, which is one even for an array.
    fn outermost(&mut self, root: &str, payload: &RawValue) -> Result<()> {
        if !payload.get().starts_with('[') {
            return self.element(root, payload, 0);
        }
        let root = name(root);
        self.event(Xml::Start(BytesStart::new(root.as_str())))?;
        self.items(&self.config.item, payload, 1)?;
        self.event(Xml::End(BytesEnd::new(root.as_str())))
    }

    /// One element, or one for each item.
    fn element(&mut self, member: &str, value: &RawValue, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Err(Error::new(format!(
                "the payload is more than {DEPTH} levels deep"
            )));
        }
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'[') => self.items(member, value, depth),
            Some(b'{') => self.object(member, text, depth),
            _ => {
                let name = name(member);
                let start = BytesStart::new(name.as_str());
                let Some(text) = scalar(text)? else {
                    return self.event(Xml::Empty(start));
                };
                self.event(Xml::Start(start))?;
                self.text(&text)?;
                self.event(Xml::End(BytesEnd::new(name.as_str())))
            }
        }
    }

    fn items(&mut self, name: &str, array: &RawValue, depth: usize) -> Result<()> {
        let items: Vec<&RawValue> = serde_json::from_str(array.get())?;
        for item in items {
            if item.get().starts_with('[') {
                // An array in an array keeps its bounds.
                if depth > DEPTH {
                    return Err(Error::new(format!(
                        "the payload is more than {DEPTH} levels deep"
                    )));
                }
                let name = crate::text::name(name);
                self.event(Xml::Start(BytesStart::new(name.as_str())))?;
                self.items(&self.config.item, item, depth + 1)?;
                self.event(Xml::End(BytesEnd::new(name.as_str())))?;
            } else {
                self.element(name, item, depth)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, member: &str, text: &str, depth: usize) -> Result<()> {
        let element = name(member);
        let Members(members) = serde_json::from_str(text)?;
        let (attributes, children): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|(name, value)| self.is_attribute(name, value));
        let mut start = BytesStart::new(element.as_str());
        for (attribute, value) in attributes {
            let prefix = self.config.attribute_prefix.as_str();
            let attribute = name(attribute.strip_prefix(prefix).unwrap_or(&attribute));
            let value = scalar(value.get())?.unwrap_or_default();
            start.push_attribute(Attribute {
                key: QName(&attribute),
                value: escape(&value)?.into(),
            });
        }
        if children.is_empty() {
            return self.event(Xml::Empty(start));
        }
        self.event(Xml::Start(start))?;
        for (name, value) in children {
            if name == self.config.text_name && is_scalar(value) {
                self.text(&scalar(value.get())?.unwrap_or_default())?;
            } else {
                self.element(&name, value, depth + 1)?;
            }
        }
        self.event(Xml::End(BytesEnd::new(element.as_str())))
    }

    fn is_attribute(&self, name: &str, value: &RawValue) -> bool {
        let prefix = self.config.attribute_prefix.as_str();
        let prefixed = !prefix.is_empty() && name.len() > prefix.len() && name.starts_with(prefix);
        prefixed && is_scalar(value)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.event(Xml::Text(BytesText::from_escaped(escape(text)?)))
    }

    fn event(&mut self, event: Xml<'_>) -> Result<()> {
        Ok(self.writer.write_event(event)?)
    }
}

/// The member of an object that has one, unless it is an array, of which XML would make several outermost elements.
fn only_member(payload: &RawValue) -> Result<Option<(String, &RawValue)>> {
    if !payload.get().starts_with('{') {
        return Ok(None);
    }
    let Members(mut members) = serde_json::from_str(payload.get())?;
    let only = if members.len() == 1 {
        members.pop()
    } else {
        None
    };
    Ok(only.filter(|(_, value)| !value.get().starts_with('[')))
}

fn is_scalar(value: &RawValue) -> bool {
    !value.get().starts_with(['{', '['])
}

/// The text of a value that is no object or array; none for null.
fn scalar(json: &str) -> Result<Option<String>> {
    Ok(match json.as_bytes().first() {
        Some(b'"') => Some(serde_json::from_str(json)?),
        Some(b'n') => None,
        _ => Some(json.to_owned()),
    })
}
