package sigstoretest

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Repository is a TUF repository in a folder, made at test time. A file server
// over Dir serves it.
type Repository struct {
	Dir string
	// Key signs every role; Files are the targets by name. Publish takes both as they are.
	Key   ed25519.PrivateKey
	Files map[string][]byte
	tb    testing.TB
}

// NewRepository makes an empty folder; Publish fills it. A test without a
// folder of its own names one.
func NewRepository(tb testing.TB, files map[string][]byte) *Repository {
	tb.Helper()
	return NewRepositoryIn(tb, tb.TempDir(), files)
}

// NewRepositoryIn is NewRepository in a folder that is there.
func NewRepositoryIn(tb testing.TB, dir string, files map[string][]byte) *Repository {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return &Repository{tb: tb, Dir: dir, Key: key, Files: files}
}

// Write writes one file of the repository as it is.
func (r *Repository) Write(name string, b []byte) {
	p := filepath.Join(r.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		r.tb.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o600); err != nil {
		r.tb.Fatal(err)
	}
}

// Publish signs version v of all metadata, valid until expires, and returns
// the first root.
func (r *Repository) Publish(v int64, expires time.Time) []byte {
	r.tb.Helper()
	signer, err := signature.LoadSigner(r.Key, crypto.Hash(0))
	if err != nil {
		r.tb.Fatal(err)
	}
	must := func(err error) {
		r.tb.Helper()
		if err != nil {
			r.tb.Fatal(err)
		}
	}
	pub, err := metadata.KeyFromPublicKey(r.Key.Public())
	must(err)
	root := metadata.Root(expires.AddDate(1, 0, 0))
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		must(root.Signed.AddKey(pub, role))
	}
	_, err = root.Sign(signer)
	must(err)
	rootBytes, err := root.ToBytes(false)
	must(err)
	r.Write("1.root.json", rootBytes)

	targets := metadata.Targets(expires)
	targets.Signed.Version = v
	for name, b := range r.Files {
		tf, err := metadata.TargetFile().FromBytes(name, b, "sha256")
		must(err)
		targets.Signed.Targets[name] = tf
		r.Write("targets/"+filepath.ToSlash(filepath.Join(filepath.Dir(name), tf.Hashes["sha256"].String()+"."+filepath.Base(name))), b)
	}
	_, err = targets.Sign(signer)
	must(err)
	snapshot := metadata.Snapshot(expires)
	snapshot.Signed.Version = v
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(v)
	_, err = snapshot.Sign(signer)
	must(err)
	timestamp := metadata.Timestamp(expires)
	timestamp.Signed.Version = v
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(v)
	_, err = timestamp.Sign(signer)
	must(err)
	b, err := targets.ToBytes(false)
	must(err)
	r.Write(fmt.Sprintf("%d.targets.json", v), b)
	b, err = snapshot.ToBytes(false)
	must(err)
	r.Write(fmt.Sprintf("%d.snapshot.json", v), b)
	b, err = timestamp.ToBytes(false)
	must(err)
	r.Write("timestamp.json", b)
	return rootBytes
}
