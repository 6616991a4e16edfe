package dev.fovea.client;

/**
 * A tool that the model may call. {@code name} has letters, digits, `_`, `-` and `.`, at most 64 of
 * them. {@code parameters} is the JSON schema of the arguments, as text; empty if it takes none. With
 * {@code strict} the arguments are held to the schema, even if the model need not call the tool.
 */
public record Tool(String name, String description, String parameters, boolean strict) {
  public Tool(String name, String description, String parameters) {
    this(name, description, parameters, false);
  }
}
