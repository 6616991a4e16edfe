package dev.fovea.client;

import java.util.List;

/**
 * The form that an answer must have. An answer that ends with {@link FinishReason#LENGTH} was cut,
 * and one with a {@code matchedStop} was stopped: neither need have it. What the service cannot
 * enforce it refuses, and names the field.
 */
public sealed interface Format {
  /** JSON that is valid by a schema, itself written as JSON. */
  record JsonSchema(String schema) implements Format {}

  /** Text that an expression matches as a whole. The syntax is that of Rust, without look-around. */
  record Regex(String pattern) implements Format {}

  /** One of these. */
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

  /** One of these. */
  static Format choice(String... options) {
    return new Choice(List.of(options));
  }
}
