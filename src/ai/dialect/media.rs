//! Addresses of images and documents: data URLs (RFC 2397) and http ones, and which type an address shows.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ask::{Kind, Media, Source};
use super::text::Text;
use super::translate::Untranslatable;

/// Where an `image_url` or a `file_data` has its bytes.
///
/// # Errors
///
/// It is neither Base64 in a data URL nor an http address.
pub(super) fn source<'a>(url: Text<'a>, at: &str) -> Result<Source<'a>, Untranslatable> {
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(Source::Url(url));
    }
    let refused = || Untranslatable::at(at, "neither an http address nor a data URL with base64".to_owned());
    let (head, comma) = match (url.strip_prefix("data:"), url.find(',')) {
        (Some(rest), Some(comma)) => (rest.get(..comma - 5).ok_or_else(refused)?, comma),
        _ => return Err(refused()),
    };
    let mime = head.strip_suffix(";base64").ok_or_else(refused)?;
    let mime = mime.split(';').next().unwrap_or_default().to_ascii_lowercase();
    let mime = if mime == "image/jpg" { "image/jpeg".to_owned() } else { mime };
    let data = match url.0 {
        Cow::Borrowed(url) => Cow::Borrowed(url.get(comma + 1..).unwrap_or_default()),
        Cow::Owned(mut url) => Cow::Owned(url.split_off(comma + 1)),
    };
    Ok(Source::Data { mime: mime.into(), data: Text(data) })
}

/// What an `image_url` holds: clients put documents into it, too.
///
/// # Errors
///
/// A drawing, which no model sees.
pub(super) fn kind_of_image(source: &Source<'_>, at: &str) -> Result<Kind, Untranslatable> {
    match source {
        Source::Data { mime, .. } if &**mime == "application/pdf" => Ok(Kind::Document),
        Source::Data { mime, .. } if &**mime == "image/svg+xml" => {
            Err(Untranslatable::at(at, "this model sees no SVG; send it as PNG".to_owned()))
        }
        _ => Ok(Kind::Image),
    }
}

/// A document whose bytes are plain text, as that text; any other as it is.
///
/// # Errors
///
/// They are no UTF-8, or no Base64.
pub(super) fn plain<'a>(source: Source<'a>, at: &str) -> Result<Source<'a>, Untranslatable> {
    let Source::Data { mime, data } = source else { return Ok(source) };
    if !mime.starts_with("text/") {
        return Ok(Source::Data { mime, data });
    }
    let text = STANDARD.decode(data.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(|text| Source::Plain(text.into()))
        .ok_or_else(|| Untranslatable::at(at, "a text whose bytes are no UTF-8 in base64".to_owned()))
}

/// The type that the end of an address's path shows.
///
/// # Errors
///
/// It shows none that is known.
pub(super) fn type_of(media: &Media<'_>, url: &str) -> Result<&'static str, Untranslatable> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit(['/', '.']).next().unwrap_or_default().to_ascii_lowercase();
    let mime = match (media.kind, ending.as_str()) {
        (Kind::Image, "png") => "image/png",
        (Kind::Image, "jpg" | "jpeg") => "image/jpeg",
        (Kind::Image, "webp") => "image/webp",
        (Kind::Image, "heic") => "image/heic",
        (Kind::Image, "heif") => "image/heif",
        (Kind::Document, _) => "application/pdf",
        _ => {
            return Err(Untranslatable::at(
                &media.at,
                "this model's provider has to be told the type of what it fetches, and this address does not show \
                 one; send the bytes as a data URL"
                    .to_owned(),
            ));
        }
    };
    Ok(mime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_is_its_type_and_its_bytes() {
        let plain = source("data:image/jpg;base64,QUJD".into(), "x").unwrap();
        assert_eq!(plain, Source::Data { mime: "image/jpeg".into(), data: "QUJD".into() });
        let with_parameter = source("data:text/plain;charset=utf-8;base64,QQ==".to_owned().into(), "x").unwrap();
        assert_eq!(with_parameter, Source::Data { mime: "text/plain".into(), data: "QQ==".into() });
    }

    #[test]
    fn what_is_no_address_of_bytes_is_refused() {
        for url in ["data:,a", "data:text/plain,a", "ftp://a/b.png", "file-123", "", "data:", ",data:"] {
            assert_eq!(source(url.into(), "f").unwrap_err().param.as_deref(), Some("f"), "{url}");
        }
    }

    #[test]
    fn the_bytes_of_a_data_url_are_not_copied() {
        let Source::Data { data, .. } = source("data:image/png;base64,QUJD".into(), "x").unwrap() else { panic!() };
        assert!(matches!(data.0, Cow::Borrowed("QUJD")));
    }
}
