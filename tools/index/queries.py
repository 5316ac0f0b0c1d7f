"""For each language the tree-sitter queries that find definitions; the capture's name is the kind of symbol.

`@function` and the like capture the name; `@whole` is the definition itself, whose first line is its signature.
"""

_JAVASCRIPT = """
(function_declaration name: (identifier) @function) @whole
(generator_function_declaration name: (identifier) @function) @whole
(class_declaration name: (_) @class) @whole
(method_definition name: (_) @method) @whole
(program (lexical_declaration (variable_declarator name: (identifier) @constant) @whole))
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @constant) @whole)))
"""
_TYPESCRIPT = (
    _JAVASCRIPT
    + """
(abstract_class_declaration name: (_) @class) @whole
(abstract_method_signature name: (_) @method) @whole
(interface_declaration name: (_) @interface) @whole
(type_alias_declaration name: (_) @type) @whole
(enum_declaration name: (_) @enum) @whole
(function_signature name: (identifier) @function) @whole
"""
)

DEFINITIONS = {
    "Python": """
(class_definition name: (identifier) @class) @whole
(function_definition name: (identifier) @function) @whole
(module (expression_statement (assignment left: (identifier) @constant) @whole))
""",
    "JavaScript": _JAVASCRIPT,
    "TypeScript": _TYPESCRIPT,
    "TSX": _TYPESCRIPT,
    "Go": """
(function_declaration name: (identifier) @function) @whole
(method_declaration name: (field_identifier) @method) @whole
(type_declaration (type_spec name: (type_identifier) @type) @whole)
(type_declaration (type_alias name: (type_identifier) @type) @whole)
(source_file (const_declaration (const_spec name: (identifier) @constant) @whole))
(source_file (var_declaration (var_spec name: (identifier) @constant) @whole))
""",
    "Java": """
(class_declaration name: (identifier) @class) @whole
(interface_declaration name: (identifier) @interface) @whole
(enum_declaration name: (identifier) @enum) @whole
(record_declaration name: (identifier) @class) @whole
(annotation_type_declaration name: (identifier) @interface) @whole
(method_declaration name: (identifier) @method) @whole
(constructor_declaration name: (identifier) @method) @whole
""",
    "Ruby": """
(class name: (_) @class) @whole
(module name: (_) @module) @whole
(method name: (_) @method) @whole
(singleton_method name: (_) @method) @whole
(program (assignment left: (constant) @constant) @whole)
""",
    "PHP": """
(class_declaration name: (name) @class) @whole
(interface_declaration name: (name) @interface) @whole
(trait_declaration name: (name) @trait) @whole
(enum_declaration name: (name) @enum) @whole
(function_definition name: (name) @function) @whole
(method_declaration name: (name) @method) @whole
""",
}
CONTAINERS = frozenset({"class", "interface", "enum", "trait", "module"})
"""Kinds that other definitions stand in."""
