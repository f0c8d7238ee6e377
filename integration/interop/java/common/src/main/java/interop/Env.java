package interop;

import java.net.URI;

/** What the environment says. */
public final class Env {
  private Env() {}

  public static String need(String name) {
    String v = System.getenv(name);
    if (v == null || v.isEmpty()) {
      throw new IllegalStateException("set " + name);
    }
    return v;
  }

  public static String get(String name, String otherwise) {
    String v = System.getenv(name);
    return v == null || v.isEmpty() ? otherwise : v;
  }

  public static int number(String name, int otherwise) {
    return Integer.parseInt(get(name, Integer.toString(otherwise)));
  }

  public static URI kinesis() {
    return URI.create(need("STREAMD_KINESIS"));
  }

  public static URI dynamodb() {
    return URI.create(get("STREAMD_DYNAMODB", need("STREAMD_KINESIS")));
  }

  public static String region() {
    return get("AWS_REGION", "us-east-1");
  }
}
