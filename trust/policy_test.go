package trust

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"virga/image"
)

func parseRef(t *testing.T, s string) image.Reference {
	t.Helper()
	r, err := image.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The scopes of containers-policy.json(5), in its order.
func TestScopes(t *testing.T) {
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for in, want := range map[string]string{
		"busybox":                "docker.io/library/busybox:latest docker.io/library/busybox docker.io/library docker.io *.io ",
		"a.b.example:5000/x/y:1": "a.b.example:5000/x/y:1 a.b.example:5000/x/y a.b.example:5000/x a.b.example:5000 *.b.example *.example ",
		"localhost/y@" + d:       "localhost/y@" + d + " localhost/y localhost ",
		"reg.example/y:2@" + d:   "reg.example/y@" + d + " reg.example/y:2 reg.example/y reg.example *.example ",
	} {
		if got := strings.Join(scopes(parseRef(t, in)), " "); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	one, two := newSigner(t).Public(), newSigner(t).Public()
	files := map[string][]byte{"/keys/one.pub": one.PEM(), "/keys/bad.pub": []byte("x")}
	read := func(name string) ([]byte, error) {
		if b, ok := files[name]; ok {
			return b, nil
		}
		return nil, fs.ErrNotExist
	}
	data := base64.StdEncoding.EncodeToString(two.PEM())
	p, err := ParsePolicy("policy.json", []byte(`{
		"default": [{"type": "reject"}],
		"transports": {
			"docker-daemon": {"": [{"type": "insecureAcceptAnything"}]},
			"docker": {
				"docker.io": [{"type": "insecureAcceptAnything"}],
				"docker.io/library/alpine": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}],
				"reg.example/one": [{"type": "sigstoreSigned", "keyPath": "/keys/one.pub"}],
				"reg.example/both": [{"type": "sigstoreSigned", "keyPath": "/keys/one.pub"}, {"type": "sigstoreSigned", "keyData": "`+data+`"}],
				"reg.example/either": [{"type": "sigstoreSigned", "keyPaths": ["/keys/one.pub"]}],
				"reg.example/datas": [{"type": "sigstoreSigned", "keyDatas": ["`+data+`", "`+data+`"]}],
				"reg.example/logged": [{"type": "sigstoreSigned", "keyPath": "/keys/one.pub", "rekorPublicKeyPath": "/r"}],
				"reg.example/pki": [{"type": "sigstoreSigned", "pki": {"caRootsPath": "/r"}}],
				"reg.example/gone": [{"type": "sigstoreSigned", "keyPath": "/keys/gone.pub"}],
				"reg.example/bad": [{"type": "sigstoreSigned", "keyPath": "/keys/bad.pub"}],
				"*.wild.example": [{"type": "insecureAcceptAnything"}]
			}
		}
	}`), read)
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"debian": "", "me/app": "", "a.b.wild.example:5/x": "",
		"other.example/x":      "reject: refused",
		"wild.example/x":       "reject: refused",
		"alpine:3":             "reject: GPG",
		"reg.example/one:1":    one.Fingerprint(),
		"reg.example/one/sub":  one.Fingerprint(),
		"reg.example/onemore":  "reject: refused",
		"reg.example/both":     one.Fingerprint() + " " + two.Fingerprint(),
		"reg.example/either":   one.Fingerprint(),
		"reg.example/datas":    two.Fingerprint() + "," + two.Fingerprint(),
		"reg.example/logged:1": "reject: transparency log",
		"reg.example/pki":      "reject: pki",
		"reg.example/gone":     "error: not exist",
		"reg.example/bad":      "error: PEM",
	} {
		demands, err := p.Demands(parseRef(t, ref))
		if says, ok := strings.CutPrefix(want, "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "policy.json") {
				t.Errorf("%s: %v, want %q", ref, err, says)
			}
			continue
		}
		var got []string
		for _, d := range demands {
			var keys []string
			for _, k := range d.Keys {
				keys = append(keys, k.Fingerprint())
			}
			if d.Reject != "" {
				keys = append(keys, "reject: "+d.Reject)
			}
			got = append(got, strings.Join(keys, ","))
		}
		says, rejects := strings.CutPrefix(want, "reject: ")
		if err != nil || rejects && (len(got) != 1 || !strings.HasPrefix(got[0], "reject: ") || !strings.Contains(got[0], says)) || !rejects && strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", ref, got, err, want)
		}
	}
	if d, err := (*Policy)(nil).Demands(parseRef(t, "x")); d != nil || err != nil {
		t.Errorf("no policy: %v, %v", d, err)
	}
}

func TestBadPolicies(t *testing.T) {
	for text, says := range map[string]string{
		``: "EOF", `[]`: "policy.json", `{}`: "default: no requirement", `{"default":[]}`: "no requirement",
		`{"default":[{"type":"reject"}]}{}`:                                                                                                      "follows",
		`{"default":[{"type":"reject"}],"transport":{}}`:                                                                                         "transport",
		`{"default":[{"type":"acceptAnything"}]}`:                                                                                                "acceptAnything",
		`{"default":[{"type":"reject"}],"transports":{"docker":{"":[]}}}`:                                                                        "docker:: no requirement",
		`{"default":[{"type":"sigstoreSigned"}]}`:                                                                                                "exactly one",
		`{"default":[{"type":"sigstoreSigned","keyPath":"a","keyData":"eA=="}]}`:                                                                 "exactly one",
		`{"default":[{"type":"sigstoreSigned","keyPath":"a","minimumDate":"x"}]}`:                                                                "minimumDate",
		`{"default":[{"type":"sigstoreSigned","keyData":"!"}]}`:                                                                                  "base64",
		`{"default":[{"type":"sigstoreSigned","fulcio":{}}]}`:                                                                                    "oidcIssuer",
		`{"default":[{"type":"sigstoreSigned","fulcio":{"oidcIssuer":"a","subjectEmail":"b"}}]}`:                                                 "caPath",
		`{"default":[{"type":"sigstoreSigned","fulcio":{"caPath":"c","oidcIssuer":"a","subjectEmail":"b"}}]}`:                                    "rekorPublicKey",
		`{"default":[{"type":"sigstoreSigned","keyPath":"a","signedIdentity":{"type":"x"}}]}`:                                                    "signedIdentity",
		`{"default":[{"type":"sigstoreSigned","keyPath":"a","signedIdentity":{"type":"exactReference","dockerReference":"reg.example/a"}}]}`:     "dockerReference",
		`{"default":[{"type":"sigstoreSigned","keyPath":"a","signedIdentity":{"type":"exactRepository","dockerRepository":"reg.example/a:1"}}]}`: "dockerRepository",
		`{"default":[{"type":"sigstoreSigned","keyPath":"a","signedIdentity":{"type":"remapIdentity","prefix":"a/"}}]}`:                          "prefix",
	} {
		if _, err := ParsePolicy("policy.json", []byte(text), nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

func TestSignedIdentity(t *testing.T) {
	const d = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tt := range []struct{ identity, image, accepts, refuses string }{
		{``, "reg.example/a:1", "reg.example/a:1", "reg.example/a reg.example/a:2 reg.example/b:1 other.example/a:1 - reg.example/a:1" + d},
		{``, "reg.example/a" + d, "reg.example/a reg.example/a:1 reg.example/a:2", "reg.example/b other.example/a"},
		{`"type":"matchRepoDigestOrExact"`, "alpine:3", "docker.io/library/alpine:3 index.docker.io/library/alpine:3", "index.docker.io/library/alpine"},
		{`"type":"matchExact"`, "reg.example/a:1", "reg.example/a:1", "reg.example/a reg.example/a:2"},
		{`"type":"matchExact"`, "reg.example/a" + d, "reg.example/a" + d, "reg.example/a reg.example/a:1"},
		{`"type":"matchRepository"`, "alpine:3", "index.docker.io/library/alpine alpine:4", "reg.example/library/alpine index.docker.io/library/alpin"},
		{`"type":"exactReference","dockerReference":"reg.example/b:7"`, "reg.example/a:1", "reg.example/b:7", "reg.example/a:1 reg.example/b reg.example/b:8"},
		{`"type":"exactRepository","dockerRepository":"reg.example/b"`, "reg.example/a:1", "reg.example/b:7 reg.example/b", "reg.example/a:1"},
		{`"type":"remapIdentity","prefix":"mirror.example/vendor","signedPrefix":"vendor.example"`, "mirror.example/vendor/a/b:1", "vendor.example/a/b:1", "mirror.example/vendor/a/b:1 vendor.example/a/b vendor.example/a/b:2"},
		{`"type":"remapIdentity","prefix":"mirror.example/vendor","signedPrefix":"vendor.example"`, "mirror.example/vendors/a:1", "mirror.example/vendors/a:1", "vendor.example/a:1"},
		{`"type":"remapIdentity","prefix":"mirror.example","signedPrefix":"vendor.example"`, "mirror.example/a" + d, "vendor.example/a vendor.example/a:3", "mirror.example/a"},
	} {
		var s *signedIdentity
		if tt.identity != "" {
			s = new(signedIdentity)
			if err := json.Unmarshal([]byte("{"+tt.identity+"}"), s); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.check(); err != nil {
			t.Errorf("%s: %v", tt.identity, err)
		}
		for _, signed := range slices.Concat(strings.Fields(tt.accepts), strings.Fields(tt.refuses)) {
			want := slices.Contains(strings.Fields(tt.accepts), signed)
			if got := s.accepts(signed, parseRef(t, tt.image)); got != want {
				t.Errorf("{%s} %s signed as %s: %v, want %v", tt.identity, tt.image, signed, got, want)
			}
		}
	}
}
