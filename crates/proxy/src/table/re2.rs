//! Expressions in RE2's meaning. Its syntax is (but for rarities that are refused) that of our parser, but `\d`, `\s`,
//! `\w` and `\b` know ASCII only, while `.` and classes still stand for whole characters.

use regex_syntax::ast::{
    Assertion, AssertionKind, Ast, ClassAscii, ClassAsciiKind, ClassBracketed, ClassPerl, ClassPerlKind,
    ClassSet, ClassSetItem, Flag, Flags, FlagsItem, FlagsItemKind, Group, GroupKind, parse,
};
use regex_syntax::hir::{Hir, translate};

/// Parses an expression.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(source: &str) -> Result<Hir, String> {
    let mut ast = parse::Parser::new().parse(source).map_err(|error| error.to_string())?;
    ascii(&mut ast);
    let mut translator = translate::TranslatorBuilder::new().utf8(false).build();
    translator.translate(source, &ast).map_err(|error| error.to_string())
}

/// Makes Perl classes and word boundaries ASCII. Recursion ends: the parser bounds nesting.
fn ascii(ast: &mut Ast) {
    match ast {
        Ast::ClassPerl(class) => {
            let (span, item) = (class.span, ClassSetItem::Ascii(ascii_class(class)));
            *ast = Ast::class_bracketed(ClassBracketed { span, negated: false, kind: ClassSet::Item(item) });
        }
        Ast::ClassBracketed(class) => ascii_set(&mut class.kind),
        Ast::Assertion(assertion) if is_word(assertion) => {
            let span = assertion.span;
            let item = |kind| FlagsItem { span, kind };
            let items = vec![item(FlagsItemKind::Negation), item(FlagsItemKind::Flag(Flag::Unicode))];
            let kind = GroupKind::NonCapturing(Flags { span, items });
            let inner = Box::new(std::mem::replace(ast, Ast::empty(span)));
            *ast = Ast::group(Group { span, kind, ast: inner });
        }
        Ast::Repetition(repetition) => ascii(&mut repetition.ast),
        Ast::Group(group) => ascii(&mut group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter_mut().for_each(ascii),
        Ast::Concat(concat) => concat.asts.iter_mut().for_each(ascii),
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_) => {}
    }
}

fn ascii_set(set: &mut ClassSet) {
    match set {
        ClassSet::Item(item) => ascii_item(item),
        ClassSet::BinaryOp(operation) => {
            ascii_set(&mut operation.lhs);
            ascii_set(&mut operation.rhs);
        }
    }
}

fn ascii_item(item: &mut ClassSetItem) {
    match item {
        ClassSetItem::Perl(class) => *item = ClassSetItem::Ascii(ascii_class(class)),
        ClassSetItem::Bracketed(class) => ascii_set(&mut class.kind),
        ClassSetItem::Union(union) => union.items.iter_mut().for_each(ascii_item),
        ClassSetItem::Empty(_)
        | ClassSetItem::Literal(_)
        | ClassSetItem::Range(_)
        | ClassSetItem::Ascii(_)
        | ClassSetItem::Unicode(_) => {}
    }
}

fn ascii_class(class: &ClassPerl) -> ClassAscii {
    let kind = match class.kind {
        ClassPerlKind::Digit => ClassAsciiKind::Digit,
        ClassPerlKind::Space => ClassAsciiKind::Space,
        ClassPerlKind::Word => ClassAsciiKind::Word,
    };
    ClassAscii { span: class.span, kind, negated: class.negated }
}

fn is_word(assertion: &Assertion) -> bool {
    matches!(assertion.kind, AssertionKind::WordBoundary | AssertionKind::NotWordBoundary)
}
