package dev.fovea.client;

import java.util.List;

/**
 * Constrains an answer. An answer that ends with {@link FinishReason#LENGTH} was cut, and an answer
 * with a {@code matchedStop} was stopped; either may not match. A format that the service cannot
 * enforce is refused, and the error names the field.
 */
public sealed interface Format {
  /** JSON that is valid by a schema, itself written as JSON. */
  record JsonSchema(String schema) implements Format {}

  /**
   * Text that an expression matches as a whole, in the syntax of Rust's regex crate, without
   * look-around.
   */
  record Regex(String pattern) implements Format {}

  /** One of these options. */
  record Choice(List<String> options) implements Format {
    public Choice {
      options = List.copyOf(options);
    }
  }

  /** JSON that is valid by this schema. */
  static Format jsonSchema(String schema) {
    return new JsonSchema(schema);
  }

  /** Text that this expression matches. */
  static Format regex(String pattern) {
    return new Regex(pattern);
  }

  /** One of these options. */
  static Format choice(String... options) {
    return new Choice(List.of(options));
  }
}
