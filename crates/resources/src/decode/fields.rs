//! Each specification is declared once; its struct, its names in YAML and its decoding follow from the declaration.

/// Is this what an absent field is?
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares a mapping: `"name in YAML" => field: Type`. With `also [..]` follow names that are known and not read, with
/// `beside {..}` fields of the same form that come from elsewhere in the document.
macro_rules! spec {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_doc:meta])* $json:literal => $field:ident: $type:ty,)*
        }
        $(also [$($other:literal),* $(,)?])?
        $(beside {
            $($(#[$beside_doc:meta])* $beside_json:literal => $beside:ident: $beside_type:ty,)*
        })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
        $vis struct $name {
            $(
                $(#[$field_doc])*
                #[serde(rename = $json, skip_serializing_if = "crate::decode::is_default")]
                $vis $field: $type,
            )*
            $($(
                $(#[$beside_doc])*
                #[serde(rename = $beside_json, skip_serializing_if = "crate::decode::is_default")]
                $vis $beside: $beside_type,
            )*)?
        }

        impl $crate::decode::Decode for $name {
            fn decode(node: &$crate::node::Node, cursor: &mut $crate::decode::Cursor<'_>) -> Self {
                let mut read = $name::default();
                for entry in cursor.entries(node) {
                    match &*$crate::decode::camel(&entry.key) {
                        $($json => cursor.field($json, entry, &mut read.$field),)*
                        $($($other => {})*)?
                        _ => cursor.unknown(entry, &[$($json,)* $($($other),*)?]),
                    }
                }
                read
            }
        }
    };
}

/// Declares a choice of words. The first is the default.
macro_rules! words {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $(#[$first_doc:meta])* $first:ident = $first_word:literal,
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub enum $name {
            $(#[$first_doc])* #[default] #[serde(rename = $first_word)] $first,
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// As users write it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $name::$first => $first_word,
                    $($name::$variant => $word,)*
                }
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(node: &$crate::node::Node, cursor: &mut $crate::decode::Cursor<'_>) -> Self {
                match node.text() {
                    Some($first_word) => $name::$first,
                    $(Some($word) => $name::$variant,)*
                    _ => {
                        cursor.wrong_word(node, &[$first_word, $($word),*]);
                        $name::default()
                    }
                }
            }
        }
    };
}

pub(crate) use {spec, words};
