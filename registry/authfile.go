package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Store keeps a credential for a registry host (or host/path) in the first of
// Files, or in the credential helper which that file names for the host. The
// file gets mode 0600; members that are not ours stay as they are.
func (k *Keychain) Store(ctx context.Context, server string, cred Credential) error {
	if len(k.Files) == 0 {
		return errors.New("store credentials: no file to store them in")
	}
	if strings.Contains(cred.Username, ":") {
		return fmt.Errorf("store credentials: user name %q holds a colon", cred.Username)
	}
	key := fileKey(normalKey(server))
	host := ServerHost(server)
	return editAuthFile(ctx, k.Files[0], func(doc document) (bool, error) {
		f, err := doc.authFile()
		if err != nil {
			return false, err
		}
		auths, err := doc.object("auths")
		if err != nil {
			return false, err
		}
		was := len(auths)
		for old := range auths {
			if normalKey(old) == normalKey(server) {
				delete(auths, old)
			}
		}
		if name, at := f.helperFor(host); name != "" {
			if err := k.helperStore(ctx, name, at, cred); err != nil {
				return false, err
			}
			return len(auths) != was, doc.set("auths", auths) // an old entry would win
		}
		if auths[key], err = json.Marshal(entryOf(cred)); err != nil {
			return false, err
		}
		return true, doc.set("auths", auths)
	})
}

// entryOf is the inverse of authEntry.credential.
func entryOf(c Credential) map[string]string {
	entry := map[string]string{}
	if c.Username != "" || c.Password != "" {
		entry["auth"] = base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
	}
	if c.IdentityToken != "" {
		entry["identitytoken"] = c.IdentityToken
	}
	if c.RegistryToken != "" {
		entry["registrytoken"] = c.RegistryToken
	}
	return entry
}

// Erase forgets a registry host (or host/path) in all Files and the helpers
// they name for it, and reports whether there was something to forget.
func (k *Keychain) Erase(ctx context.Context, server string) (bool, error) {
	var (
		found  bool
		failed []error
	)
	for _, path := range k.Files {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := editAuthFile(ctx, path, func(doc document) (bool, error) {
			had, changed, err := k.eraseFrom(ctx, doc, server)
			found = found || had
			return changed, err
		})
		if err != nil {
			failed = append(failed, err)
		}
	}
	return found, errors.Join(failed...)
}

func (k *Keychain) eraseFrom(ctx context.Context, doc document, server string) (had, changed bool, err error) {
	f, err := doc.authFile()
	if err != nil {
		return false, false, err
	}
	if name, at := f.helperFor(ServerHost(server)); name != "" {
		c, err := k.helperGet(ctx, name, at)
		if err != nil {
			return false, false, err
		}
		if !c.IsZero() {
			had = true
			if err := k.helperErase(ctx, name, at); err != nil {
				return had, false, err
			}
		}
	}
	auths, err := doc.object("auths")
	if err != nil {
		return had, false, err
	}
	for key := range auths {
		if normalKey(key) == normalKey(server) {
			delete(auths, key)
			had, changed = true, true
		}
	}
	if !changed {
		return had, false, nil
	}
	return had, true, doc.set("auths", auths)
}

// helperFor returns the helper that keeps a host's secrets and the name under
// which it does.
func (f *authFile) helperFor(host string) (helper, server string) {
	for key, name := range f.CredHelpers {
		if ServerHost(key) == host {
			return name, key
		}
	}
	if f.CredsStore != "" {
		return f.CredsStore, helperKey(host)
	}
	return "", ""
}

// document is a JSON object of which we know some members.
type document map[string]json.RawMessage

func (d document) authFile() (*authFile, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	var f authFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, jsonPosition(err)
	}
	return &f, nil
}

func (d document) object(member string) (map[string]json.RawMessage, error) {
	m := make(map[string]json.RawMessage)
	if raw := d[member]; raw != nil {
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, jsonPosition(err)
		}
	}
	if m == nil { // the member was null
		m = make(map[string]json.RawMessage)
	}
	return m, nil
}

func (d document) set(member string, v any) error {
	raw, err := json.Marshal(v)
	d[member] = raw
	return err
}

// editAuthFile changes a credential file while it is locked against other
// virgas, and replaces it in one step. edit reports whether it changed
// anything.
func editAuthFile(ctx context.Context, path string, edit func(document) (bool, error)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("change credentials %q: %w", path, err)
		}
	}()
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a link into a directory of dot files stays one
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	doc := document{}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.TrimSpace(string(b)) != "" {
		if err := json.Unmarshal(b, &doc); err != nil {
			return jsonPosition(err)
		}
	}
	changed, err := edit(doc)
	if err != nil || !changed {
		return err
	}
	out, err := json.MarshalIndent(doc, "", "\t")
	if err != nil {
		return err
	}
	return replaceFile(path, append(out, '\n'))
}

// replaceFile writes a file of mode 0600 beside path and renames it there.
func replaceFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// lockFile takes an flock(2) on path, which is left in place: removing it
// would let two processes lock two files of one name.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("still locked by another process after %v", patience))
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = sleep(ctx, 10*time.Millisecond)
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
	}
}
