//! The walk over the syntax tree that fills in what tokens alone do not tell.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, UseTree};

use super::{Function, ModuleFile, Name, PathUse, SourceFile};

/// Adds functions, names, modules, imports and test lines to the file.
pub(super) fn visit(file: &mut SourceFile, syntax: &syn::File) {
    if syntax.attrs.iter().any(is_test) {
        file.is_test = true;
    }
    Walk { file, within: Vec::new(), tests: 0 }.visit_file(syntax);
}

struct Walk<'a> {
    file: &'a mut SourceFile,
    /// The inline modules around the current place.
    within: Vec<String>,
    /// How many items around the current place are test code.
    tests: usize,
}

impl Walk<'_> {
    fn name(&mut self, ident: &Ident) {
        self.file.names.push(Name { text: ident.to_string(), line: ident.span().start().line });
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.span().start().line;
        let last_line = block.brace_token.span.close().end().line;
        let lines = last_line + 1 - line;
        self.file.functions.push(Function { name: signature.ident.to_string(), line, lines });
    }

    fn module(&mut self, module: &syn::ItemMod) {
        let path = module.attrs.iter().find(|attribute| attribute.path().is_ident("path"));
        let path = path.and_then(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) => match &pair.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
        self.file.modules.push(ModuleFile {
            within: self.within.clone(),
            name: module.ident.to_string(),
            path,
            is_test: self.tests > 0,
        });
    }

    fn imports(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.imports(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.imports(tree, before);
                }
            }
            UseTree::Name(name) => self.import(&name.ident, before),
            UseTree::Rename(rename) => self.import(&rename.ident, before),
            UseTree::Glob(_) => {}
        }
    }

    fn import(&mut self, last: &Ident, before: &[String]) {
        let mut segments = before.to_vec();
        if last != "self" {
            segments.push(last.to_string());
        }
        self.file.paths.push(PathUse { segments, line: last.span().start().line });
    }

    fn in_item(
        &mut self,
        attributes: &[Attribute],
        item: &impl Spanned,
        walk: impl FnOnce(&mut Self),
    ) {
        let is_test = attributes.iter().any(is_test);
        if is_test {
            let span = item.span();
            self.file.test_lines.push((span.start().line, span.end().line));
        }
        self.tests += usize::from(is_test);
        walk(self);
        self.tests -= usize::from(is_test);
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        self.in_item(attributes(item), item, |walk| visit::visit_item(walk, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        self.in_item(&item.attrs, item, |walk| visit::visit_impl_item_fn(walk, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.name(&item.ident);
        if item.content.is_none() {
            self.module(item);
        }
        self.within.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.within.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.imports(&item.tree, &mut Vec::new());
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.name(&signature.ident);
        visit::visit_signature(self, signature);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.name(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.name(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.name(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.name(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if let Some(ident) = &field.ident {
            self.name(ident);
        }
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.name(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.name(&pattern.ident);
        visit::visit_pat_ident(self, pattern);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]`, `#[tokio::test]`, or a `cfg` that needs `test` or the feature `testing`.
fn is_test(attribute: &Attribute) -> bool {
    let path = attribute.path();
    if path.segments.last().is_some_and(|segment| segment.ident == "test") {
        return true;
    }
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let condition = list.tokens.to_string();
    let names_test = condition
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word == "test" || word == "testing");
    path.is_ident("cfg") && names_test && !condition.contains("not")
}
