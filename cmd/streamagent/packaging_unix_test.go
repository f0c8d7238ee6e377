//go:build unix

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/streamkit/streamkit/agent"
)

var checkout = filepath.Join("..", "..")

// inCheckout returns the text of a file, named by its path from the root.
func inCheckout(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(checkout, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A packed file is an entry of contents.
type packed struct {
	Src, Dst, Type string
}

// nfpm is what the test needs of packaging/nfpm.yaml.
type nfpm struct {
	Contents []packed
	Scripts  map[string]string
}

func readNFPM(t *testing.T) nfpm {
	t.Helper()
	var n nfpm
	if err := yaml.Unmarshal([]byte(inCheckout(t, "packaging/nfpm.yaml")), &n); err != nil {
		t.Fatal(err)
	}
	if len(n.Contents) == 0 || len(n.Scripts) == 0 {
		t.Fatalf("packaging/nfpm.yaml has %d contents and %d scripts", len(n.Contents), len(n.Scripts))
	}
	return n
}

// installs returns the entry that a package puts at dst.
func (n nfpm) installs(dst string) (packed, bool) {
	i := slices.IndexFunc(n.Contents, func(p packed) bool { return p.Dst == dst })
	if i < 0 {
		return packed{}, false
	}
	return n.Contents[i], true
}

// recipe returns the lines of a target of the Makefile.
func recipe(t *testing.T, target string) string {
	t.Helper()
	_, rest, found := strings.Cut(inCheckout(t, "Makefile"), "\n"+target+":")
	if !found {
		t.Fatalf("the Makefile has no target %s", target)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	var lines strings.Builder
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "\t") {
			break
		}
		lines.WriteString(line)
	}
	return lines.String()
}

var goBuild = regexp.MustCompile(`(?m)^\t(?:cd (\S+) && )?.* build .* -o (\S+) (\S+)$`)

// What the packages hold is in the checkout, or built for them by `make package`; and
// what lies in packaging/ is in a package, or a recipe of its own.
func TestPackageContents(t *testing.T) {
	lines := recipe(t, "package")
	built := builds(t, lines)
	n := readNFPM(t)
	used := []string{"packaging/nfpm.yaml", "packaging/Containerfile"}
	exists := func(what, src string) {
		t.Helper()
		used = append(used, src)
		if _, ok := built[src]; ok {
			return
		}
		if fi, err := os.Stat(filepath.Join(checkout, src)); err != nil || !fi.Mode().IsRegular() {
			t.Errorf("%s: %s is no file of the checkout, and \"make package\" does not build it: %v", what, src, err)
		}
	}
	for _, p := range n.Contents {
		if !path.IsAbs(p.Dst) {
			t.Errorf("dst %q is not absolute", p.Dst)
		}
		if p.Type != "dir" {
			exists(p.Dst, p.Src)
		}
	}
	for name, src := range n.Scripts {
		exists(name, src)
	}
	for src := range built {
		if !slices.Contains(used, src) {
			t.Errorf("\"make package\" builds %s, which no package holds", src)
		}
	}
	there, err := os.ReadDir(filepath.Join(checkout, "packaging"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		if name := "packaging/" + e.Name(); !slices.Contains(used, name) {
			t.Errorf("no package holds %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(inCheckout(t, "packaging/nfpm.yaml"), -1) {
		if !strings.Contains(lines, m[1]+"=") {
			t.Errorf("\"make package\" does not set %s", m[1])
		}
	}
	if !strings.Contains(lines, "-f packaging/nfpm.yaml") {
		t.Errorf("\"make package\" does not read packaging/nfpm.yaml:\n%s", lines)
	}
}

// builds returns what a recipe builds: the directory of the main package by the
// path of the program, both from the root.
func builds(t *testing.T, lines string) map[string]string {
	t.Helper()
	built := make(map[string]string)
	for _, m := range goBuild.FindAllStringSubmatch(lines, -1) {
		out, source := path.Join(m[1], m[2]), path.Join(m[1], m[3])
		if main, err := filepath.Glob(filepath.Join(checkout, source, "main.go")); err != nil || len(main) != 1 {
			t.Errorf("%s is built from %s, which has no main.go: %v", out, source, err)
		}
		built[out] = source
	}
	if len(built) == 0 {
		t.Fatalf("nothing is built by\n%s", lines)
	}
	return built
}

// accepts parses a command line of streamagent as the program does, without running it,
// and returns the subcommand and the configuration that it names.
func accepts(t *testing.T, where string, args []string) (command, config string) {
	t.Helper()
	a := &app{}
	cmd, rest, err := a.newRoot().Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: streamagent does not take %q: %v", where, args, err)
		return "", ""
	}
	return cmd.Name(), a.config
}

// settings returns the values of each directive of a unit.
func settings(unit string) map[string][]string {
	all := make(map[string][]string)
	for line := range strings.Lines(unit) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			all[key] = append(all[key], value)
		}
	}
	return all
}

// The unit starts the program that the package holds, with flags that it has and the
// configuration that is installed, as a user that the package makes, and lets it write
// where its positions are.
func TestPackageUnit(t *testing.T) {
	n := readNFPM(t)
	unit := settings(inCheckout(t, "packaging/streamagent.service"))
	one := func(key string) string {
		t.Helper()
		if len(unit[key]) != 1 {
			t.Fatalf("the unit has %q for %s, want one value", unit[key], key)
		}
		return unit[key][0]
	}
	command := strings.Fields(one("ExecStart"))
	if p, ok := n.installs(command[0]); !ok || path.Base(p.Src) != "streamagent" {
		t.Errorf("ExecStart runs %s, which no package holds", command[0])
	}
	const more = "$STREAMAGENT_ARGS"
	if last := command[len(command)-1]; last != more {
		t.Fatalf("ExecStart ends with %s, want %s", last, more)
	}
	command = command[1 : len(command)-1]
	verb, config := accepts(t, "ExecStart", command)
	if _, ok := n.installs(config); !ok || verb != "run" || config != packageConfig {
		t.Errorf("ExecStart does %q with %q; want run with %s, installed", verb, config, packageConfig)
	}

	// The examples of STREAMAGENT_ARGS: in the environment's file, and in the guide.
	examples := regexp.MustCompile(`STREAMAGENT_ARGS="?([^"\n]*)`)
	for _, name := range []string{"packaging/streamagent.default", "docs/agent.md"} {
		found := examples.FindAllStringSubmatch(inCheckout(t, name), -1)
		if len(found) == 0 {
			t.Errorf("%s has no example of STREAMAGENT_ARGS", name)
		}
		for _, m := range found {
			if verb, _ := accepts(t, name, append(slices.Clone(command), strings.Fields(m[1])...)); verb != "run" {
				t.Errorf("%s: STREAMAGENT_ARGS=%s makes %q of it", name, m[1], verb)
			}
		}
	}
	for _, file := range unit["EnvironmentFile"] {
		if _, ok := n.installs(strings.TrimPrefix(file, "-")); !ok {
			t.Errorf("no package holds the EnvironmentFile %s", file)
		}
	}

	user, group := one("User"), one("Group")
	for _, made := range []string{"groupadd --system " + group + "\n", "useradd --system --gid " + group + " ", " /usr/sbin/nologin " + user + "\n"} {
		if script := inCheckout(t, n.Scripts["preinstall"]); !strings.Contains(script, made) {
			t.Errorf("preinstall does not make the user %s of the group %s: no %q in\n%s", user, group, made, script)
		}
	}
	state := "/var/lib/" + one("StateDirectory")
	if dir := path.Dir(agent.DefaultCheckpointFile); dir != state {
		t.Errorf("positions are in %s, the service may write to %s", dir, state)
	}
	for _, dir := range []string{state, "/var/log/" + one("LogsDirectory")} {
		if script := inCheckout(t, n.Scripts["postremove"]); !strings.Contains(script, dir) {
			t.Errorf("purge leaves %s behind:\n%s", dir, script)
		}
		if !strings.Contains(inCheckout(t, "docs/agent.md"), "`"+dir+"`") {
			t.Errorf("docs/agent.md does not name %s", dir)
		}
	}
	if _, page, _ := strings.Cut(one("Documentation"), "/blob/main/"); inCheckout(t, page) == "" {
		t.Errorf("the documentation %s is empty", page)
	}
}

// The installed configuration lacks flows and nothing else. With its comments taken
// away it is valid without a warning.
func TestPackageConfiguration(t *testing.T) {
	text := inCheckout(t, "packaging/agent.yaml")
	dir := t.TempDir()
	config := filepath.Join(dir, "agent.yaml")
	validate := func() (int, string) {
		var out buffer
		code := run(t.Context(), []string{"validate", "--strict", "-c", config}, &out, &out)
		return code, out.String()
	}
	write(t, config, text)
	if code, out := validate(); code != exitError || strings.Count(out, "\n") != 1 || !strings.Contains(out, "no flows; add") {
		t.Errorf("as it is: exit code %d, %s", code, out)
	}

	uncommented := strings.Replace(text, "flows: []", "flows:", 1)
	example := regexp.MustCompile(`(?m)^#((?:  | kinesis\.)[ -]*[\w.]+: \S+)$`)
	if found := example.FindAllString(text, -1); uncommented == text || len(found) != 3 {
		t.Fatalf("the examples in comments are %q, want a region and a flow of two lines, and \"flows: []\" before it:\n%s", found, text)
	}
	uncommented = example.ReplaceAllString(uncommented, "$1")
	uncommented = strings.Replace(uncommented, " kinesis.region", "kinesis.region", 1)
	write(t, config, strings.ReplaceAll(uncommented, "/var/log/app", dir))
	if code, out := validate(); code != exitOK || !strings.Contains(out, "is valid: 1 flows, checkpoints in "+agent.DefaultCheckpointFile) {
		t.Errorf("with its comments taken away: exit code %d, %s of\n%s", code, out, uncommented)
	}
}

// The maintainers' scripts are what sh understands, and end with the first failure. An
// upgrade does not wait for the service, which waits for its streams.
func TestPackageScripts(t *testing.T) {
	n := readNFPM(t)
	if script := inCheckout(t, n.Scripts["postinstall"]); !strings.Contains(script, "\tsystemctl --no-block try-restart streamagent.service\n") {
		t.Errorf("postinstall does not restart the service, or waits for it:\n%s", script)
	}
	for name, src := range n.Scripts {
		if text := inCheckout(t, src); !strings.HasPrefix(text, "#!/bin/sh\nset -e\n") {
			t.Errorf("%s: %s does not begin with the line of sh and \"set -e\"", name, src)
		}
		if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-n", filepath.Join(checkout, src)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s: %v\n%s", name, src, err, out)
		}
	}
}

// An instruction of a Containerfile.
type instruction struct {
	name string
	args []string // of COPY and its like the flags, too; those of a list in JSON
}

func readContainerfile(t *testing.T, text string) (all []instruction) {
	t.Helper()
	text = regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		in := instruction{name: fields[0], args: fields[1:]}
		if at := strings.IndexByte(line, '['); at >= 0 {
			if err := json.Unmarshal([]byte(line[at:]), &in.args); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		all = append(all, in)
	}
	return all
}

// The image holds the program and what it needs, and its commands are ones that the
// program takes.
func TestContainerfile(t *testing.T) {
	text := inCheckout(t, "packaging/Containerfile")
	ignored := strings.Fields(inCheckout(t, ".dockerignore"))
	made := []string{"/etc/ssl/certs/ca-certificates.crt"} // what golang's image has
	var holds, config []string
	var volume, user, owner string
	verbs := make(map[string]string)
	for _, in := range readContainerfile(t, text) {
		switch in.name {
		case "FROM":
			if image := in.args[0]; image != "scratch" && !strings.Contains(inCheckout(t, "go.mod"), "\ngo "+strings.TrimPrefix(image, "golang:")+".") {
				t.Errorf("built with %s, which is not what go.mod asks for", image)
			}
		case "RUN":
			for i, arg := range in.args[:len(in.args)-1] {
				switch next := in.args[i+1]; {
				case arg == "-o", arg == "-p":
					made = append(made, next)
				case strings.HasPrefix(next, "./"):
					if _, err := os.Stat(filepath.Join(checkout, next, "main.go")); err != nil {
						t.Errorf("RUN builds %s: %v", next, err)
					}
				}
			}
		case "COPY":
			staged := false
			sources := slices.DeleteFunc(slices.Clone(in.args), func(arg string) bool {
				staged = staged || arg == "--from=build"
				if id, ok := strings.CutPrefix(arg, "--chown="); ok {
					owner = id
				}
				return strings.HasPrefix(arg, "--")
			})
			dst := sources[len(sources)-1]
			for _, src := range sources[:len(sources)-1] {
				if staged {
					if holds = append(holds, dst); !slices.Contains(made, src) {
						t.Errorf("COPY of %s, which the build does not make: it makes %q", src, made)
					}
				} else if _, err := os.Stat(filepath.Join(checkout, src)); err != nil || slices.Contains(ignored, src) {
					t.Errorf("COPY of %s, which is not in the checkout, or in .dockerignore: %v", src, err)
				}
			}
		case "USER":
			user = in.args[0]
		case "VOLUME":
			volume = in.args[0]
		case "ENTRYPOINT":
			if len(in.args) != 1 || !slices.Contains(holds, in.args[0]) {
				t.Errorf("ENTRYPOINT %q is not what the image holds: %q", in.args, holds)
			}
		case "HEALTHCHECK":
			if !slices.Contains(holds, in.args[0]) {
				t.Errorf("HEALTHCHECK runs %q, which is not what the image holds: %q", in.args, holds)
			}
			in.args = in.args[1:]
			fallthrough
		case "CMD":
			verb, file := accepts(t, in.name, in.args)
			verbs[in.name] = verb
			config = append(config, file)
		}
	}
	if verbs["CMD"] != "run" || verbs["HEALTHCHECK"] != "status" {
		t.Errorf("the commands are %v, want CMD to be run, and HEALTHCHECK status", verbs)
	}
	if len(config) != 2 || config[0] != packageConfig || config[1] != packageConfig || !strings.Contains(text, ":"+packageConfig+":ro") {
		t.Errorf("the commands read %q, want %s, which the comment mounts", config, packageConfig)
	}
	if state := path.Dir(agent.DefaultCheckpointFile); volume != state || !slices.Contains(holds, state) || owner != user || user == "" {
		t.Errorf("positions are in %s; the volume is %q, of the user %q, and the image runs as %q", state, volume, owner, user)
	}
}
