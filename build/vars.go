package build

import (
	"maps"
	"slices"
	"strings"

	"virga/image"
	"virga/parser"
)

// defaultPath is the PATH of images that set none, as BuildKit has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// passThrough are the variables that a RUN sees without ARG, that never
// enter an image, and that never make a difference to the cache.
var passThrough = []string{
	"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy",
	"NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSH_AUTH_SOCK",
}

// platformArgs are the values that the predefined platform ARGs have.
func platformArgs(build, target image.Platform, stage string) map[string]string {
	return map[string]string{
		"BUILDPLATFORM": build.String(), "BUILDOS": build.OS, "BUILDARCH": build.Arch, "BUILDVARIANT": build.Variant,
		"TARGETPLATFORM": target.String(), "TARGETOS": target.OS, "TARGETARCH": target.Arch, "TARGETVARIANT": target.Variant,
		"TARGETSTAGE": stage,
	}
}

// scope is the variables that instructions of one stage can name: ARGs
// declared so far, here or in the stage that this one is from, and the image's
// ENV. Of an ARG and an ENV of one name the later one counts.
type scope struct {
	given  map[string]string // --build-arg
	global map[string]string // ARGs before the first FROM, and the platform's
	args   map[string]string // declared, having a value, and not hidden by a later ENV
	used   map[string]bool   // --build-args that some ARG took; shared by all stages
}

// newScope makes the global scope of a file, in which FROM is expanded.
func newScope(given, platform map[string]string) *scope {
	return &scope{given: given, global: platform, args: maps.Clone(platform), used: map[string]bool{}}
}

// stage makes the scope of one stage: nothing is declared yet.
func (s *scope) stage() *scope {
	return &scope{given: s.given, global: s.args, args: map[string]string{}, used: s.used}
}

// inherit takes over what the stage that this one is from has declared.
func (s *scope) inherit(from *scope) { s.args = maps.Clone(from.args) }

// set tells of an ENV, which hides ARGs before it.
func (s *scope) set(e *parser.Env) {
	for _, p := range e.Pairs {
		delete(s.args, p.Key.Text)
	}
}

// declare handles the definitions of one ARG instruction. In a stage, an ARG
// without default takes the value of the global ARG of that name; one that has
// no value anywhere changes nothing.
func (s *scope) declare(a *parser.Arg, env []string) (unset []string, err error) {
	for i := range a.Args {
		def := &a.Args[i]
		s.used[def.Name] = true
		if v, ok := s.given[def.Name]; ok {
			s.args[def.Name] = v
			continue
		}
		v, ok, missing, err := def.Value(s.lookup(env))
		unset = append(unset, missing...)
		if err != nil {
			return unset, err
		}
		if !ok {
			v, ok = s.global[def.Name]
		}
		if ok {
			s.args[def.Name] = v
		}
	}
	return unset, nil
}

// lookup finds variables for substitution.
func (s *scope) lookup(env []string) parser.Lookup {
	return func(name string) (string, bool) {
		if v, ok := s.args[name]; ok {
			return v, ok
		}
		return image.Getenv(env, name)
	}
}

// runEnv is the environment of a RUN that counts for the cache: the image's
// ENV, and ARGs.
func (s *scope) runEnv(env []string) []string {
	out := slices.Clone(env)
	for _, name := range slices.Sorted(maps.Keys(s.args)) {
		if !slices.Contains(passThrough, name) {
			out = image.Setenv(out, name, s.args[name])
		}
	}
	if _, ok := image.Getenv(out, "PATH"); !ok {
		out = append(out, "PATH="+defaultPath)
	}
	return out
}

// passEnv adds the pass-through variables: from --build-arg, else from an ARG,
// else from the caller's environment.
func (s *scope) passEnv(env, host []string) []string {
	for _, name := range passThrough {
		if _, ok := image.Getenv(env, name); ok {
			continue
		}
		v, ok := s.given[name]
		if !ok {
			v, ok = s.args[name]
		}
		if !ok {
			v, ok = image.Getenv(host, name)
		}
		if ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// unused lists the --build-args that nothing declared.
func (s *scope) unused() []string {
	var out []string
	for name := range s.given {
		if !s.used[name] && !slices.Contains(passThrough, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// oneLine is s on one line of at most n characters, for people.
func oneLine(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
