package interop;

/** JSON objects in one line. */
public final class Json {
  private final StringBuilder out = new StringBuilder("{");

  public Json put(String name, Object value) {
    if (out.length() > 1) {
      out.append(',');
    }
    quote(name);
    out.append(':');
    if (value instanceof Number || value instanceof Boolean) {
      out.append(value);
    } else {
      quote(String.valueOf(value));
    }
    return this;
  }

  private void quote(String s) {
    out.append('"');
    for (int i = 0; i < s.length(); i++) {
      char c = s.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ' || c > '~') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    out.append('"');
  }

  @Override
  public String toString() {
    return out + "}";
  }
}
