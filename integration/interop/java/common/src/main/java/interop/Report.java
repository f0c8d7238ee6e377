package interop;

import java.util.Objects;

/** What a program says on its standard output: who it is, then a line for each check. */
public final class Report {
  /** A check: returns a detail, or throws. */
  public interface Check {
    Object run() throws Exception;
  }

  private boolean failed;

  /** The client's name is its artifact's, which may have a group in front. */
  public Report(String client, Class<?> of) {
    String artifact = client.substring(client.lastIndexOf(':') + 1);
    String version = Objects.toString(version(artifact, of), "unknown");
    print(new Json().put("client", client).put("version", version)
        .put("runtime", "java " + System.getProperty("java.version")));
  }

  /** The version in the name of the jar, else what its manifest says. */
  private static String version(String artifact, Class<?> of) {
    String jar = of.getProtectionDomain().getCodeSource().getLocation().getPath();
    String name = jar.substring(jar.lastIndexOf('/') + 1);
    String prefix = artifact + "-";
    if (name.startsWith(prefix) && name.endsWith(".jar")) {
      return name.substring(prefix.length(), name.length() - ".jar".length());
    }
    return of.getPackage().getImplementationVersion();
  }

  public synchronized boolean check(String what, Check c) {
    try {
      Object detail = c.run();
      print(new Json().put("check", what).put("ok", true).put("detail", detail == null ? "" : detail.toString()));
      return true;
    } catch (Throwable t) {
      failed = true;
      print(new Json().put("check", what).put("ok", false).put("detail", t.toString()));
      t.printStackTrace();
      return false;
    }
  }

  private static void print(Json j) {
    System.out.println(j);
    System.out.flush();
  }

  /** Ends the process with what came out. */
  public void exit() {
    System.exit(failed ? 1 : 0);
  }

  public static void same(String what, Object got, Object want) {
    if (!Objects.equals(got, want)) {
      throw new AssertionError(what + " is " + got + ", want " + want);
    }
  }

  public static void that(boolean ok, String what) {
    if (!ok) {
      throw new AssertionError(what);
    }
  }
}
