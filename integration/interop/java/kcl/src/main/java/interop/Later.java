package interop;

import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.HashMap;
import java.util.Map;
import software.amazon.kinesis.common.LeaseCleanupConfig;
import software.amazon.kinesis.leases.LeaseManagementConfig;

/** What only later versions of the client let one set, and what none does. */
final class Later {
  private Later() {}

  /** Calls the setter of config, if it has one, unless value is zero or false. */
  static void set(Object config, String name, Object value) throws ReflectiveOperationException {
    if (value.equals(0) || value.equals(false)) {
      return;
    }
    for (Method m : config.getClass().getMethods()) {
      if (m.getName().equals(name) && m.getParameterCount() == 1) {
        Class<?> type = m.getParameterTypes()[0];
        boolean wide = type == long.class || type == Long.class;
        m.invoke(config, wide && value instanceof Integer i ? Long.valueOf(i) : value);
        return;
      }
    }
  }

  /** Sets the version that the worker is to be compatible with. */
  @SuppressWarnings({"unchecked", "rawtypes"})
  static void version(Object coordinator, String name) throws ReflectiveOperationException {
    if (name.isEmpty()) {
      return;
    }
    for (Method m : coordinator.getClass().getMethods()) {
      if (m.getName().equals("clientVersionConfig") && m.getParameterCount() == 1) {
        m.invoke(coordinator, Enum.valueOf((Class) m.getParameterTypes()[0], name));
        return;
      }
    }
    throw new NoSuchMethodException("clientVersionConfig: this version knows no other");
  }

  /**
   * Shortens what the scheduler waits for before it goes over to the rules of version 3 (ten
   * minutes), and to one table (an hour, and an hour at least). There are no settings for it.
   */
  static void shorten(Object scheduler, int seconds) throws ReflectiveOperationException {
    if (seconds == 0) {
      return;
    }
    Object versions = get(scheduler, "migrationStateMachine");
    field(versions, "flipTo3XStabilizerTimeInSeconds").set(versions, (long) seconds);
    Object tables = getOrNull(scheduler, "tableMigrationStateMachine");
    if (tables != null) {
      @SuppressWarnings("unchecked")
      Map<Object, Long> waits = (Map<Object, Long>) get(tables, "bakeTimeOverrides");
      Map<Object, Long> all = new HashMap<>(waits);
      for (Object status : Class.forName("software.amazon.kinesis.coordinator.migration.TableMigrationStatus").getEnumConstants()) {
        all.put(status, (long) seconds);
      }
      field(tables, "bakeTimeOverrides").set(tables, all);
    }
  }

  /**
   * Has leases of shards that have ended removed after millis: until then they count in the balance
   * of version 2. It takes five minutes, and there is no setting for it.
   */
  static void cleanUp(LeaseManagementConfig leases, int millis) throws ReflectiveOperationException {
    if (millis == 0) {
      return;
    }
    field(leases, "leaseCleanupConfig").set(leases, LeaseCleanupConfig.builder().leaseCleanupIntervalMillis(millis)
        .completedLeaseCleanupIntervalMillis(millis)
        .garbageLeaseCleanupIntervalMillis(LeaseManagementConfig.DEFAULT_GARBAGE_LEASE_CLEANUP_INTERVAL_MILLIS).build());
  }

  private static Object getOrNull(Object of, String name) throws ReflectiveOperationException {
    try {
      return get(of, name);
    } catch (NoSuchFieldException e) {
      return null;
    }
  }

  private static Object get(Object of, String name) throws ReflectiveOperationException {
    return field(of, name).get(of);
  }

  private static Field field(Object of, String name) throws NoSuchFieldException {
    Field f = of.getClass().getDeclaredField(name);
    f.setAccessible(true);
    return f;
  }
}
