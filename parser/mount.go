package parser

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mountField is one option of a --mount, as written.
type mountField struct {
	key, value string
	hasValue   bool
	off        int // in the logical line, -1 if not known
}

// mountKeys are the options of --mount, and the type of their values.
func mountKeys() []string {
	return []string{
		"type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro", "readwrite", "rw", "id",
		"sharing", "required", "size", "mode", "uid", "gid", "env",
	}
}

// mount reads the value of a --mount.
func (b *builder) mount(w Word) *Mount {
	fields, err := csvFields(w.Text)
	if err != nil {
		b.failAt(w.Pos, fmt.Sprintf("--mount: %q is no comma-separated list", shorten(w.Text)), "")
		return nil
	}
	m := &Mount{Type: MountBind, Pos: w.Pos}
	variables := false
	off := w.off
	for _, text := range fields {
		f := mountField{off: off}
		f.key, f.value, f.hasValue = strings.Cut(text, "=")
		f.key = strings.ToLower(f.key)
		if off >= 0 {
			off += len(text) + 1
		}
		m.fields = append(m.fields, f)
		variables = variables || strings.Contains(f.value, "$")
		if f.key == "from" {
			m.From = f.value
			if i := strings.IndexByte(f.value, '$'); i >= 0 && i < len(f.value)-1 {
				b.mountError(m, &mountError{f, "from= cannot hold variables", "declare a stage with FROM, which can, and name it here"})
				return nil
			}
		}
	}
	if variables {
		for _, f := range m.fields {
			if bad := f.checkKey(); bad != nil {
				b.mountError(m, bad)
			}
		}
		return m
	}
	if _, bad := m.resolve(b.n.escape, noVariables); bad != nil {
		b.mountError(m, bad)
	}
	return m
}

// csvFields splits at commas; a field in double quotes may hold commas.
func csvFields(s string) ([]string, error) {
	if !strings.ContainsAny(s, "\"\n\r") {
		return strings.Split(s, ","), nil
	}
	return csv.NewReader(strings.NewReader(s)).Read()
}

type mountError struct {
	field     mountField
	msg, hint string
}

func (b *builder) mountError(m *Mount, e *mountError) {
	b.failAt(b.n.mountPos(m, e.field), "--mount: "+e.msg, e.hint)
}

// mountPos is the place of an option, or that of the whole --mount.
func (n *node) mountPos(m *Mount, f mountField) Pos {
	if f.key == "" || f.off < 0 {
		return m.Pos
	}
	return n.posAt(f.off)
}

// checkKey reports an unknown option, and one without its value.
func (f mountField) checkKey() *mountError {
	if !slices.Contains(mountKeys(), f.key) {
		hint := didYouMean(f.key, mountKeys())
		return &mountError{f, fmt.Sprintf("there is no option %q", shorten(f.key)), hint}
	}
	switch f.key {
	case "readonly", "ro", "readwrite", "rw", "required":
		return nil
	}
	if !f.hasValue {
		return &mountError{f, fmt.Sprintf("the option %s needs a value", f.key), f.key + "=VALUE"}
	}
	return nil
}

// resolve fills m from its fields, their variables replaced.
func (m *Mount) resolve(escape rune, lookup Lookup) (unset []string, bad *mountError) {
	readOnlyGiven := false
	for _, f := range m.fields {
		if bad := f.checkKey(); bad != nil {
			return nil, bad
		}
		value, names, err := expandText(f.value, escape, lookup)
		if err != nil {
			return nil, &mountError{f, err.msg, err.hint}
		}
		unset = appendNew(unset, names)
		switch f.key {
		case "readonly", "ro", "readwrite", "rw":
			readOnlyGiven = true
		}
		if bad := m.set(f, value); bad != nil {
			return nil, bad
		}
	}
	if !readOnlyGiven {
		m.ReadOnly = m.Type != MountCache && m.Type != MountTmpfs
	}
	m.Resolved = true
	return unset, m.check()
}

// set stores one option.
func (m *Mount) set(f mountField, value string) *mountError {
	var err *mountError
	switch f.key {
	case "type":
		m.Type = strings.ToLower(value)
		err = f.oneOf(m.Type, MountBind, MountCache, MountTmpfs, MountSecret, MountSSH)
	case "from":
		m.From = value
	case "source", "src":
		m.Source = value
	case "target", "dst", "destination":
		m.Target = value
	case "id":
		m.ID = value
	case "env":
		m.Env = &value
	case "sharing":
		m.Sharing = strings.ToLower(value)
		err = f.oneOf(m.Sharing, "shared", "private", "locked")
	case "readonly", "ro":
		m.ReadOnly, err = f.truth(value)
	case "readwrite", "rw":
		m.ReadOnly, err = f.truth(value)
		m.ReadOnly = !m.ReadOnly
	case "required":
		if m.Type != MountSecret && m.Type != MountSSH {
			return m.notFor(f)
		}
		m.Required, err = f.truth(value)
	case "size":
		if m.Type != MountTmpfs {
			return m.notFor(f)
		}
		m.Size, err = f.size(value)
	case "mode":
		m.Mode, err = f.number(value, 8)
	case "uid":
		m.UID, err = f.number(value, 10)
	case "gid":
		m.GID, err = f.number(value, 10)
	}
	return err
}

// check reports options that do not go together.
func (m *Mount) check() *mountError {
	for _, f := range m.fields {
		switch f.key {
		case "mode", "uid", "gid":
			if m.Type == MountBind || m.Type == MountTmpfs {
				return m.notFor(f)
			}
		case "sharing":
			if m.Type != MountCache {
				return m.notFor(f)
			}
		case "from":
			if m.Type == MountSecret && m.From != "" {
				return m.notFor(f)
			}
		}
	}
	if m.Type == MountSecret {
		if m.Source == "" && m.Target == "" && m.ID == "" {
			return &mountError{msg: "a secret needs an id or a target", hint: "type=secret,id=NAME"}
		}
		if m.Source != "" && m.ID != "" {
			return &mountError{msg: "a secret has an id or a source, not both"}
		}
	}
	return nil
}

// notFor says that the option f does not go with the type known so far.
func (m *Mount) notFor(f mountField) *mountError {
	at := slices.IndexFunc(m.fields, func(f mountField) bool { return f.key == "type" })
	hint := ""
	switch {
	case at < 0:
		hint = "without type=, it is " + MountBind
	case at > slices.Index(m.fields, f):
		hint = "type= comes first"
	}
	return &mountError{f, fmt.Sprintf("the option %s does not go with type=%s", f.key, m.Type), hint}
}

func (f mountField) oneOf(value string, options ...string) *mountError {
	if slices.Contains(options, value) {
		return nil
	}
	msg := fmt.Sprintf("%s= is one of %s, not %q", f.key, strings.Join(options, ", "), shorten(value))
	return &mountError{f, msg, didYouMean(value, options)}
}

func (f mountField) truth(value string) (bool, *mountError) {
	if !f.hasValue {
		return true, nil
	}
	v, err := strconv.ParseBool(value)
	if err != nil {
		return false, &mountError{f, fmt.Sprintf("%s= is true or false, not %q", f.key, shorten(value)), ""}
	}
	return v, nil
}

func (f mountField) number(value string, base int) (*uint32, *mountError) {
	n, err := strconv.ParseUint(value, base, 32)
	if err != nil {
		what := "a number"
		if base == 8 {
			what = "an octal number"
		}
		return nil, &mountError{f, fmt.Sprintf("%s= is %s, not %q", f.key, what, shorten(value)), ""}
	}
	v := uint32(n)
	return &v, nil
}

// size reads a number of bytes: 64m, 1.5GiB, 1024 (docker/go-units RAMInBytes: factors of 1024, any case).
func (f mountField) size(value string) (int64, *mountError) {
	bad := &mountError{f, fmt.Sprintf("size= is a number of bytes, not %q", shorten(value)), "such as 65536, 64m or 1.5GiB"}
	i := strings.LastIndexAny(value, "0123456789. ")
	if i < 0 {
		return 0, bad
	}
	number, unit := strings.TrimSuffix(value[:i+1], " "), strings.ToLower(value[i+1:])
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0) {
		return 0, bad
	}
	if unit != "" && unit != "b" {
		power := strings.IndexByte("kmgtp", unit[0])
		if power < 0 || unit[1:] != "" && unit[1:] != "b" && unit[1:] != "ib" {
			return 0, bad
		}
		n *= float64(int64(1) << (10 * (power + 1)))
	}
	if n >= 1<<63 {
		return 0, bad
	}
	return int64(n), nil
}

// device reads the value of a --device: [name=]NAME[,required[=BOOL]].
func (b *builder) device(w Word) Device {
	fields, err := csvFields(w.Text)
	if err != nil {
		b.failAt(w.Pos, fmt.Sprintf("--device: %q is no comma-separated list", shorten(w.Text)), "")
	}
	var d Device
	for _, text := range fields {
		key, value, hasValue := strings.Cut(text, "=")
		switch key = strings.ToLower(key); {
		case key == "required" && !hasValue:
			d.Required = true
		case key == "required":
			if d.Required, err = strconv.ParseBool(value); err != nil {
				b.failAt(w.Pos, fmt.Sprintf("--device: required= is true or false, not %q", shorten(value)), "")
			}
		case key == "name" && hasValue && d.Name == "":
			d.Name = value
		case key != "name" && d.Name == "":
			d.Name = text
		default:
			b.failAt(w.Pos, fmt.Sprintf("--device: there is a name already, and %q is no option", shorten(text)), "")
		}
	}
	if d.Name == "" && !b.failed {
		b.failAt(w.Pos, "--device needs a name", "")
	}
	return d
}
