package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"virga/image"
)

// Policy is a containers-policy.json(5), as far as images of registries go:
// what an image must fulfil depends on where it comes from.
type Policy struct {
	name     string
	defaults []requirement
	docker   map[string][]requirement // by scope
	readFile func(string) ([]byte, error)
}

// requirement is one entry of a policy. What must be of one type is refused in
// those of another when the policy is read.
type requirement struct {
	Type     string   `json:"type"`
	KeyPath  string   `json:"keyPath"`
	KeyPaths []string `json:"keyPaths"`
	KeyData  []byte   `json:"keyData"`
	KeyDatas [][]byte `json:"keyDatas"`
	Fulcio   *fulcio  `json:"fulcio"`

	RekorPublicKeyPath  string   `json:"rekorPublicKeyPath"`
	RekorPublicKeyPaths []string `json:"rekorPublicKeyPaths"`
	RekorPublicKeyData  []byte   `json:"rekorPublicKeyData"`
	RekorPublicKeyDatas [][]byte `json:"rekorPublicKeyDatas"`

	SignedIdentity *signedIdentity `json:"signedIdentity"`

	PKI     json.RawMessage `json:"pki"`     // certificates of other authorities than Fulcio; refused
	KeyType string          `json:"keyType"` // of signedBy
}

type fulcio struct {
	CAPath       string `json:"caPath"`
	CAData       []byte `json:"caData"`
	OIDCIssuer   string `json:"oidcIssuer"`
	SubjectEmail string `json:"subjectEmail"`
}

// ParsePolicy reads a policy, which is called name in messages. A member that
// is not known is an error: it may be a demand. readFile reads the files of keys
// that the policy names, when they are needed.
func ParsePolicy(name string, text []byte, readFile func(string) ([]byte, error)) (*Policy, error) {
	var doc struct {
		Default    []requirement                       `json:"default"`
		Transports map[string]map[string][]requirement `json:"transports"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&doc)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("something follows the document")
		}
	}
	if err == nil {
		err = checkScope("default", doc.Default)
	}
	for transport, scopes := range doc.Transports {
		for scope, list := range scopes {
			if err == nil {
				err = checkScope(transport+":"+scope, list)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("signature policy %q: %w", name, err)
	}
	return &Policy{name: name, defaults: doc.Default, docker: doc.Transports["docker"], readFile: readFile}, nil
}

func checkScope(scope string, list []requirement) error {
	if len(list) == 0 {
		return fmt.Errorf("%s: no requirement", scope)
	}
	for _, r := range list {
		if err := r.check(); err != nil {
			return fmt.Errorf("%s: %w", scope, err)
		}
	}
	return nil
}

// check looks at the form of a requirement.
func (r *requirement) check() error {
	switch r.Type {
	case "insecureAcceptAnything", "reject", "signedBy":
		return nil
	case "sigstoreSigned":
	default:
		return fmt.Errorf("type %q", r.Type)
	}
	n := 0
	for _, given := range []bool{r.KeyPath != "", r.KeyPaths != nil, r.KeyData != nil, r.KeyDatas != nil, r.Fulcio != nil, r.PKI != nil} {
		if given {
			n++
		}
	}
	switch f := r.Fulcio; {
	case n != 1:
		return errors.New("sigstoreSigned: exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki is needed")
	case f == nil:
	case f.OIDCIssuer == "", f.SubjectEmail == "":
		return errors.New("sigstoreSigned: fulcio needs oidcIssuer and subjectEmail")
	case (f.CAPath == "") == (f.CAData == nil):
		return errors.New("sigstoreSigned: fulcio needs one of caPath and caData")
	case !r.logged():
		return errors.New("sigstoreSigned: fulcio needs a rekorPublicKey")
	}
	return r.SignedIdentity.check()
}

// logged reports whether an entry in a transparency log is demanded.
func (r *requirement) logged() bool {
	return r.RekorPublicKeyPath != "" || r.RekorPublicKeyPaths != nil || r.RekorPublicKeyData != nil || r.RekorPublicKeyDatas != nil
}

// Demands returns what an image of a registry must fulfil: every one of the
// requirements of the scope that fits best. None if anything is accepted.
func (p *Policy) Demands(ref image.Reference) ([]Demand, error) {
	if p == nil {
		return nil, nil
	}
	list, scope := p.defaults, "default"
	for _, s := range scopes(ref) {
		if l, ok := p.docker[s]; ok {
			list, scope = l, s
			break
		}
	}
	var out []Demand
	for _, r := range list {
		if r.Type == "insecureAcceptAnything" {
			continue
		}
		d, err := r.demand(p.readFile)
		if err != nil {
			return nil, fmt.Errorf("signature policy %q: %s: %w", p.name, scope, err)
		}
		d.Source = fmt.Sprintf("%s (%s)", p.name, scope)
		out = append(out, *d)
	}
	return out, nil
}

// scopes are those of an image, the closest first: the image, its repository,
// what is above that, the host, its domains, and "" for every image.
func scopes(ref image.Reference) []string {
	name := ref.Host + "/" + ref.Path
	var out []string
	if ref.Digest != "" {
		out = append(out, name+"@"+ref.Digest.String())
	}
	if ref.Tag != "" {
		out = append(out, name+":"+ref.Tag)
	}
	for {
		out = append(out, name)
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			break
		}
		name = name[:i]
	}
	name, _, _ = strings.Cut(name, ":")
	for {
		_, domain, ok := strings.Cut(name, ".")
		if !ok {
			return append(out, "")
		}
		out = append(out, "*."+domain)
		name = domain
	}
}

func (r *requirement) demand(readFile func(string) ([]byte, error)) (*Demand, error) {
	switch {
	case r.Type == "reject":
		return &Demand{Reject: "images from there are refused"}, nil
	case r.Type == "signedBy":
		return &Demand{Reject: "a signature by GPG (signedBy) is demanded, which cannot be verified here"}, nil
	case r.PKI != nil:
		return &Demand{Reject: "a certificate (pki) is demanded, which cannot be verified here"}, nil
	case r.Fulcio == nil && r.logged():
		return &Demand{Reject: "an entry in a transparency log for a signature by key (rekorPublicKey) is demanded, which cannot be verified here"}, nil
	}
	d := &Demand{Name: r.SignedIdentity.accepts}
	if r.Fulcio != nil {
		var err error
		d.Keyless, err = r.keyless(readFile)
		return d, err
	}
	texts, err := gather(readFile, r.KeyPath, r.KeyPaths, r.KeyData, r.KeyDatas)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		k, err := ParsePublicKey(text)
		if err != nil {
			return nil, err
		}
		d.Keys = append(d.Keys, k)
	}
	return d, nil
}

// gather collects what a policy gives as one path, several, one text or several.
func gather(readFile func(string) ([]byte, error), path string, paths []string, text []byte, texts [][]byte) ([][]byte, error) {
	if path != "" {
		paths = append(paths, path)
	}
	if text != nil {
		texts = append(texts, text)
	}
	for _, p := range paths {
		b, err := readFile(p)
		if err != nil {
			return nil, err
		}
		texts = append(texts, b)
	}
	return texts, nil
}

func (r *requirement) keyless(readFile func(string) ([]byte, error)) (*Keyless, error) {
	cas, err := gather(readFile, r.Fulcio.CAPath, nil, r.Fulcio.CAData, nil)
	if err != nil {
		return nil, err
	}
	logs, err := gather(readFile, r.RekorPublicKeyPath, r.RekorPublicKeyPaths, r.RekorPublicKeyData, r.RekorPublicKeyDatas)
	if err != nil {
		return nil, err
	}
	root, err := trustedRoot(cas[0], logs)
	if err != nil {
		return nil, err
	}
	return &Keyless{Identity: r.Fulcio.SubjectEmail, Issuer: r.Fulcio.OIDCIssuer, TrustedRoot: root, WithoutSCT: true}, nil
}
