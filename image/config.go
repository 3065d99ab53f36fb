package image

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Config is the image configuration blob: the OCI image-spec v1.1 "Image"
// object with the members that Docker adds (healthcheck, ONBUILD triggers,
// SHELL). Member names and omission rules follow the two specifications, so
// that a configuration written by either tool survives a round trip.
type Config struct {
	Created      *time.Time `json:"created,omitempty"`
	Author       string     `json:"author,omitempty"`
	Architecture string     `json:"architecture"`
	Variant      string     `json:"variant,omitempty"`
	OS           string     `json:"os"`
	OSVersion    string     `json:"os.version,omitempty"`
	OSFeatures   []string   `json:"os.features,omitempty"`
	Config       RunConfig  `json:"config"`
	RootFS       RootFS     `json:"rootfs"`
	History      []History  `json:"history,omitempty"`
}

// RunConfig is what a container made from the image starts with.
type RunConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
}

// Healthcheck is Docker's HEALTHCHECK. Test starts with "NONE", "CMD" or
// "CMD-SHELL"; durations are nanoseconds, 0 meaning "inherit".
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// RootFS lists the diff IDs (digests of the uncompressed tars), bottom first.
type RootFS struct {
	Type    string          `json:"type"`
	DiffIDs []digest.Digest `json:"diff_ids"`
}

// History is one line of the image's history. Entries that are not
// EmptyLayer correspond, in order, to RootFS.DiffIDs.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

// ParseConfig reads a configuration blob. Unknown members are dropped.
func ParseConfig(b []byte) (*Config, error) {
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("parse image configuration: %w", err)
	}
	for i, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("parse image configuration: diff ID %d %q: %w", i, d, err)
		}
	}
	return &c, nil
}

// Encode returns the configuration as it is stored and digested: compact
// JSON with members in declaration order.
func (c *Config) Encode() ([]byte, error) {
	d := *c
	if d.RootFS.Type == "" {
		d.RootFS.Type = "layers"
	}
	if d.RootFS.DiffIDs == nil {
		d.RootFS.DiffIDs = []digest.Digest{}
	}
	b, err := json.Marshal(&d)
	if err != nil {
		return nil, fmt.Errorf("encode image configuration: %w", err)
	}
	return b, nil
}

// Clone returns a deep copy.
func (c *Config) Clone() *Config {
	d := *c
	d.OSFeatures = slices.Clone(c.OSFeatures)
	d.Config = c.Config.clone()
	d.RootFS.DiffIDs = slices.Clone(c.RootFS.DiffIDs)
	d.History = slices.Clone(c.History)
	return &d
}

func (r RunConfig) clone() RunConfig {
	r.ExposedPorts = maps.Clone(r.ExposedPorts)
	r.Env = slices.Clone(r.Env)
	r.Entrypoint = slices.Clone(r.Entrypoint)
	r.Cmd = slices.Clone(r.Cmd)
	r.Volumes = maps.Clone(r.Volumes)
	r.Labels = maps.Clone(r.Labels)
	r.OnBuild = slices.Clone(r.OnBuild)
	r.Shell = slices.Clone(r.Shell)
	if r.Healthcheck != nil {
		h := *r.Healthcheck
		h.Test = slices.Clone(h.Test)
		r.Healthcheck = &h
	}
	return r
}

// Platform returns the platform that the configuration states.
func (c *Config) Platform() Platform {
	return Platform{OS: c.OS, Arch: c.Architecture, Variant: c.Variant}
}

// Getenv returns the last value of key in a K=V list, as execve(2) programs
// see it, and whether there is one.
func Getenv(env []string, key string) (string, bool) {
	for _, kv := range slices.Backward(env) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == key {
			return v, true
		}
	}
	return "", false
}

// Setenv returns env with key set to value: replaced in its place, else
// appended. env itself is not written to.
func Setenv(env []string, key, value string) []string {
	out := slices.Clone(env)
	for i, kv := range out {
		if k, _, ok := strings.Cut(kv, "="); ok && k == key {
			out[i] = key + "=" + value
			return out
		}
	}
	return append(out, key+"="+value)
}

// SetAll returns env with every K=V of list set, in order, as by Setenv.
func SetAll(env, list []string) []string {
	for _, kv := range list {
		k, v, _ := strings.Cut(kv, "=")
		env = Setenv(env, k, v)
	}
	return env
}
