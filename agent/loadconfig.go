package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streamkit/streamkit/agent/internal/tail"
)

// Warning is something in a configuration that has no effect.
type Warning struct {
	File string
	Line int
	Text string
}

// String is the warning as a line of text.
func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// LoadConfig reads an agent.json of the official Kinesis Agent as it is: flat keys
// with dots, comments, scalars in quotes. A file whose name ends in .yaml or .yml
// holds the same in YAML, where a key with dots may also be mappings in mappings,
// and where records are aggregated unless aggregation is false. Beside it, the
// flows of every file in a directory agent.d are read too, in order of name.
//
// A key that is unknown, or that has no effect here, is a warning. A key whose
// effect would be missed in what arrives is an error. The error joins everything
// that is wrong, each with file, line and what to do.
//
// Source: awslabs/amazon-kinesis-agent, config/Configuration.java,
// AgentConfiguration.java, tailing/FileFlow.java, for keys and coercions.
func LoadConfig(path string) (*Config, []Warning, error) {
	l := &loader{cfg: &Config{}, bad: make(map[string]bool)}
	src, err := readConfig(path)
	if err != nil {
		return nil, nil, err
	}
	l.main(path, src)
	l.dropIns(DropInDir(path))
	l.file = path
	l.whole()
	if len(l.errs) > 0 {
		return nil, l.warnings, errors.Join(l.errs...)
	}
	return l.cfg, l.warnings, nil
}

// DropInDir returns the directory whose files add flows to the configuration at
// path.
func DropInDir(path string) string { return filepath.Join(filepath.Dir(path), "agent.d") }

func readConfig(path string) ([]byte, error) {
	src, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("agent: there is no configuration file %s; name it with -c, or write one with "+
			`{"flows": [{"filePattern": "/var/log/app/*.log", "kinesisStream": "NAME"}]}`, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("agent: cannot read the configuration file: %w; run as a user that may", err)
	case err != nil:
		return nil, fmt.Errorf("agent: cannot read the configuration file: %w; name another with -c", err)
	}
	return src, nil
}

// parseConfig parses the text of a file, and says in what language it is.
func parseConfig(path string, src []byte) (*node, string, error) {
	if isYAML(path) {
		n, err := parseYAML(src)
		return n, "YAML", err
	}
	n, err := parseJSON(src)
	return n, "JSON", err
}

type loader struct {
	cfg      *Config
	file     string // that is being read
	lines    []int  // of the flows
	files    []string
	warnings []Warning
	errs     []error
	bad      map[string]bool // keys of the flow at hand that are reported
}

func (l *loader) fail(line int, format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf("%s:%d: %s", l.file, line, fmt.Sprintf(format, args...)))
}

func (l *loader) warn(line int, format string, args ...any) {
	l.warnings = append(l.warnings, Warning{l.file, line, fmt.Sprintf(format, args...)})
}

// parse returns the fields of the object that a file holds; nil if it holds none.
func (l *loader) parse(path string, src []byte) fields {
	l.file = path
	n, language, err := parseConfig(path, src)
	if err != nil {
		se, _ := errors.AsType[*syntaxError](err)
		l.errs = append(l.errs, fmt.Errorf("%s:%d:%d: no %s: %s", path, se.line, se.col, language, se.text))
		return nil
	}
	if n.fields == nil {
		l.fail(n.line, "must hold an object with \"flows\", in braces")
		return nil
	}
	return n.fields
}

func (l *loader) main(path string, src []byte) {
	object := flatten(l.parse(path, src), agentKeys)
	known := append(slices.Sorted(maps.Keys(agentKeys)), "flows")
	apply(l, object, "", l.cfg, agentKeys, known, func(f field) bool {
		if f.key == "flows" {
			l.flows(f)
			return true
		}
		return false
	})
}

// dropIns reads the flows of the files in a directory.
func (l *loader) dropIns(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.errs = append(l.errs, fmt.Errorf("cannot read the drop-in directory: %w; make it readable or remove it", err))
		}
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || leftover(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		src, err := os.ReadFile(path)
		if err != nil {
			l.errs = append(l.errs, fmt.Errorf("cannot read a drop-in file: %w; make it readable or remove it", err))
			continue
		}
		for _, f := range l.parse(path, src) {
			if f.key == "flows" {
				l.flows(f)
				continue
			}
			l.warn(f.line, "%q has no effect in a drop-in file; only \"flows\" is read from it", f.key)
		}
	}
}

// leftover reports whether a name is that of a copy that an editor or a package
// manager left.
func leftover(name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	for _, suffix := range []string{"~", ".bak", ".swp", ".rpmsave", ".rpmnew", ".rpmorig", ".dpkg-old", ".dpkg-dist", ".dpkg-new"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func (l *loader) flows(f field) {
	list, ok := f.value.value.([]*node)
	if !ok {
		l.fail(f.line, "%q must be a list, in brackets", "flows")
		return
	}
	known := append(slices.Sorted(maps.Keys(flowKeys)), "dataProcessingOptions")
	for i, n := range list {
		if n.fields == nil {
			l.fail(n.line, "flows[%d] must be an object, in braces", i)
			continue
		}
		fc := FlowConfig{Aggregation: isYAML(l.file), definition: string(n.appendJSON(nil))}
		if isYAML(l.file) {
			fc.definition = "yaml" + fc.definition // its defaults differ
		}
		l.bad = make(map[string]bool)
		// partitionKey is our own and wins over the official partitionKeyOption.
		ordered := slices.Clone(flatten(n.fields, flowKeys))
		slices.SortStableFunc(ordered, func(a, b field) int {
			return cmp.Compare(btoi(b.key == "partitionKey"), btoi(a.key == "partitionKey"))
		})
		apply(l, ordered, fmt.Sprintf("flows[%d].", i), &fc, flowKeys, known, func(f field) bool {
			if f.key == "dataProcessingOptions" {
				l.options(f, fmt.Sprintf("flows[%d].", i), &fc)
				return true
			}
			return false
		})
		l.checkFlow(n, i, fc)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkFlow validates a flow and adds it.
func (l *loader) checkFlow(n *node, i int, fc FlowConfig) {
	probe := fc
	probe.setDefaults()
	for _, p := range probe.validate() {
		line := n.line
		for _, f := range n.fields {
			if f.key == p.key {
				line = f.line
			}
		}
		if l.bad[p.key] {
			continue // reported already
		}
		l.fail(line, "flows[%d].%s: %s", i, p.key, p.text)
	}
	l.idleInFlow(n, i, &fc)
	l.oddPatterns(n, i, &fc)
	for j, other := range l.cfg.Flows {
		if fc.ID == "" && other.ID == "" && other.flowID() == fc.flowID() {
			l.fail(n.line, "flows[%d] has the stream and the file pattern of the flow in %s:%d; remove one of them",
				i, l.files[j], l.lines[j])
		} else if cmp.Or(fc.ID, fc.flowID()) == cmp.Or(other.ID, other.flowID()) {
			l.fail(n.line, "flows[%d].id: %q is that of the flow in %s:%d; give one of them another",
				i, cmp.Or(fc.ID, fc.flowID()), l.files[j], l.lines[j])
		}
	}
	l.cfg.Flows = append(l.cfg.Flows, fc)
	l.lines = append(l.lines, n.line)
	l.files = append(l.files, l.file)
}

// idleInFlow warns of keys that have no effect with where the records go.
func (l *loader) idleInFlow(n *node, i int, fc *FlowConfig) {
	of, why := "kinesisStream", "it belongs to flows with deliveryStream; aggregation packs records for Kinesis"
	if fc.Firehose() {
		of, why = "deliveryStream", "deliveryStream takes its place, and has no partition keys"
	}
	for _, f := range n.fields {
		if idleWith[of][f.key] {
			l.warn(f.line, "flows[%d].%s: no effect: %s", i, f.key, why)
		}
		if f.key == "aggregatedRecordSizeBytes" && fc.Firehose() && fc.MultiLineStart != nil && fc.AggregatedRecordSizeBytes > 0 {
			l.warn(f.line, "flows[%d].%s: no effect: records of several lines are not packed", i, f.key)
		}
	}
}

// oddPatterns warns of patterns that name other files than they seem to.
func (l *loader) oddPatterns(n *node, i int, fc *FlowConfig) {
	check := func(key, pattern string) {
		line := n.line
		for _, f := range n.fields {
			if f.key == key {
				line = f.line
			}
		}
		dir, name := filepath.Split(pattern)
		switch {
		case strings.Contains(name, "**"):
			l.warn(line, "flows[%d].%s: \"**\" stands for directories only before the last slash, as in %q; here it is as good as \"*\"",
				i, key, filepath.Join(dir, "**", strings.ReplaceAll(name, "**", "*")))
		case tail.Compressed(name):
			l.warn(line, "flows[%d].%s: files whose names end in .gz, .bz2 or .zip are not read; "+
				"name the ones that are written to, and readRotatedGzip finds the rest of one that was compressed", i, key)
		}
	}
	check("filePattern", fc.FilePattern)
	for _, p := range fc.Include {
		check("include", p)
	}
}

// idleWith are the keys of a flow without effect, by the key of where it goes.
var idleWith = map[string]map[string]bool{
	"kinesisStream":  {"aggregatedRecordSizeBytes": true},
	"deliveryStream": {"kinesisStream": true, "partitionKeyOption": true, "partitionKey": true, "aggregation": true},
}

// whole checks what concerns all flows together.
func (l *loader) whole() {
	if len(l.errs) > 0 {
		return
	}
	if len(l.cfg.Flows) == 0 {
		l.fail(1, "no flows; add \"flows\": [{\"filePattern\": \"/var/log/app/*.log\", \"kinesisStream\": \"NAME\"}]")
		return
	}
	probe := *l.cfg
	probe.Flows = slices.Clone(l.cfg.Flows)
	probe.setDefaults()
	for _, p := range append(probe.problems(), probe.memoryProblems()...) {
		l.fail(1, "%s: %s", p.key, p.text)
	}
	for _, dir := range []string{"/var/run/", "/run/", "/tmp/", "/dev/shm/"} {
		if strings.HasPrefix(l.cfg.CheckpointFile, dir) {
			l.warn(1, "checkpointFile: %s is lost with a reboot on most systems; positions belong under /var/lib", dir)
		}
	}
}

// apply sets the fields of an object; special takes those that are read apart.
func apply[T any](l *loader, object fields, prefix string, t *T, keys map[string]key[T], known []string, special func(field) bool) {
	seen := make(map[string]int)
	for _, f := range object {
		if line, ok := seen[f.key]; ok {
			l.fail(f.line, "%s%s: given twice, first in line %d; remove one", prefix, f.key, line)
			continue
		}
		seen[f.key] = f.line
		if special(f) {
			continue
		}
		k, ok := keys[f.key]
		switch {
		case !ok:
			l.unknown(f, prefix, known)
		case f.value.isNull():
			l.warn(f.line, "%s%s: null has no effect; the default is used", prefix, f.key)
		case k.refuse != "":
			l.bad[f.key] = true
			l.fail(f.line, "%s%s: %s", prefix, f.key, k.refuse)
		case k.idle != "":
			l.warn(f.line, "%s%s: no effect: %s", prefix, f.key, k.idle)
		default:
			if err := k.set(t, f.value); err != nil {
				l.bad[f.key] = true
				l.fail(f.line, "%s%s: %v", prefix, f.key, err)
			}
		}
	}
}

// unknown warns of a key and names what may have been meant.
func (l *loader) unknown(f field, prefix string, known []string) {
	_, flow := flowKeys[f.key]
	_, top := agentKeys[f.key]
	switch {
	case flow && prefix == "":
		l.warn(f.line, "%s: no effect here; it belongs into a flow", f.key)
		return
	case flow && strings.Contains(prefix, "dataProcessingOptions"):
		l.warn(f.line, "%s%s: no effect here; it belongs into the flow, beside dataProcessingOptions", prefix, f.key)
		return
	case top && prefix != "":
		l.warn(f.line, "%s%s: no effect here; it belongs to the top level", prefix, f.key)
		return
	case optionKeys[f.key]:
		l.warn(f.line, "%s%s: no effect here; it belongs into an entry of dataProcessingOptions", prefix, f.key)
		return
	}
	best, distance := "", 1+len(f.key)/3
	for _, k := range known {
		if d := editDistance(strings.ToLower(f.key), strings.ToLower(k)); d <= distance {
			best, distance = k, d-1
		}
	}
	if best != "" {
		l.warn(f.line, "%s%s: unknown key, without effect; did you mean %q?", prefix, f.key, best)
		return
	}
	l.warn(f.line, "%s%s: unknown key, without effect; remove it", prefix, f.key)
}

// editDistance is the number of characters to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
