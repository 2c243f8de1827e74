package main

import (
	"archive/zip"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"headgate": main, "headgate-inventory": inventoryMain})
}

// proxy is a module proxy with a checksum database, as the go command speaks to
// them. It publishes every module of example.com that is asked for, but for those
// that its path names otherwise: "young" was published now, "runner" starts programs, "retracted" retracts
// itself, and "missing" is not there.
type proxy struct {
	db   http.Handler
	vkey string
	url  string
}

const dbName = "sum.example.com"

func goMod(mod, _ string) string {
	if strings.Contains(mod, "retracted") {
		return "module " + mod + "\n\nretract v1.0.0 // published by mistake\n"
	}
	return "module " + mod + "\n"
}

// moduleFiles are the files of a module's archive: a "runner" starts programs from
// v1.1.0 on.
func moduleFiles(mod, version string) map[string]string {
	top := mod + "@" + version + "/"
	fs := map[string]string{top + "go.mod": goMod(mod, version)}
	if strings.Contains(mod, "runner") {
		fs[top+"a.go"] = "package runner\n"
		if version != "v1.0.0" {
			fs[top+"run.go"] = "package runner\n\nimport \"os/exec\"\n\nfunc init() { exec.Command(\"true\").Run() }\n"
		}
	}
	return fs
}

// hashes are the lines of go.sum for a module.
func hashes(mod, version string) (string, error) {
	hash := func(fs map[string]string) (string, error) {
		return dirhash.Hash1(slices.Collect(maps.Keys(fs)), func(name string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(fs[name])), nil })
	}
	zip, err := hash(moduleFiles(mod, version))
	if err != nil {
		return "", err
	}
	gomod, err := hash(map[string]string{"go.mod": goMod(mod, version)})
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", mod, version, zip, mod, version, gomod), err
}

func newProxy(t testing.TB) *proxy {
	skey, vkey, err := note.GenerateKey(rand.Reader, dbName)
	if err != nil {
		t.Fatal(err)
	}
	ops := sumdb.NewTestServer(skey, func(mod, version string) ([]byte, error) {
		if strings.Contains(mod, "missing") {
			return nil, os.ErrNotExist
		}
		s, err := hashes(mod, version)
		return []byte(s), err
	})
	p := &proxy{db: sumdb.NewServer(ops), vkey: vkey}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/sumdb/"+dbName); ok {
		if rest == "/supported" {
			return
		}
		http.StripPrefix("/sumdb/"+dbName, p.db).ServeHTTP(w, r)
		return
	}
	esc, file, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/@v/")
	mod, err := module.UnescapePath(esc)
	if !ok || err != nil || !strings.HasPrefix(mod, "example.com/") || strings.Contains(mod, "missing") {
		http.NotFound(w, r)
		return
	}
	version := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(file, ".info"), ".mod"), ".zip")
	switch {
	case strings.HasSuffix(file, ".zip"):
		z := zip.NewWriter(w)
		fs := moduleFiles(mod, version)
		for _, name := range slices.Sorted(maps.Keys(fs)) {
			if f, err := z.Create(name); err == nil {
				io.WriteString(f, fs[name])
			}
		}
		z.Close()
	case file == "list":
		io.WriteString(w, "v1.0.0\nv1.1.0\n")
	case strings.HasSuffix(file, ".info"):
		at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
		if strings.Contains(mod, "young") {
			at = time.Now().UTC().Add(-time.Hour)
		}
		fmt.Fprintf(w, `{"Version":%q,"Time":%q}`, version, at.Format(time.RFC3339))
	case strings.HasSuffix(file, ".mod"):
		io.WriteString(w, goMod(mod, version))
	default:
		http.NotFound(w, r)
	}
}

func TestScripts(t *testing.T) {
	reg := newNPMRegistry(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			p := newProxy(t)
			down := httptest.NewServer(http.NotFoundHandler())
			down.Close()
			e.Setenv("GOPROXY", p.url)
			e.Setenv("GOSUMDB", p.vkey+" "+p.url+"/sumdb/"+dbName)
			e.Setenv("DOWN", down.URL)
			e.Setenv("SUMKEY", p.vkey)
			e.Setenv("NPM_CONFIG_REGISTRY", down.URL)
			e.Setenv("NPM", reg.url)
			e.Setenv("ROOTS", filepath.Join(e.WorkDir, "roots"))
			if err := reg.roots(filepath.Join(e.WorkDir, "roots")); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "mirror.yaml"), []byte(reg.mirrorConfig()), 0o644); err != nil {
				return err
			}
			e.Setenv("GOENV", "off")
			e.Setenv(InsecureEnv, strings.TrimPrefix(p.url, "http://")+","+strings.TrimPrefix(down.URL, "http://"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "data"))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("HEADGATE_USER", "carol")
			serveRepo(t, e)
			return os.MkdirAll(filepath.Join(e.WorkDir, "home"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gomod": cmdGoMod, "gosum": cmdGoSum, "schema": cmdSchema, "lock": cmdLock, "commit": cmdCommit, "sshkey": cmdSSHKey, "exit": cmdExit, "replace": cmdReplace, "firstid": cmdFirstID, "grab": cmdGrab, "mergegit": cmdMergeGit, "sshpub": cmdSSHPub, "sigstore": cmdSigstore,
			"pgpkey": cmdPGPKey, "pgpsign": cmdPGPSign, "artifact": cmdArtifact, "sha256": cmdSHA256, "sums": cmdSums, "signerkey": cmdSignerKey, "signwith": cmdSignWith,
			"signer": cmdSigner, "agent": cmdAgent, "forge": cmdForge, "strip": reg.strip, "tamper": cmdTamper,
		},
	})
}

// cmdGoMod writes DIR/go.mod and DIR/go.sum for the modules: gomod DIR mod@version...
func cmdGoMod(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	mod, sum := "module example.com/project\n\ngo 1.26\n\nrequire (\n", ""
	for _, a := range args[1:] {
		m, v, _ := strings.Cut(a, "@")
		mod += "\t" + m + " " + v + "\n"
		s, err := hashes(m, v)
		ts.Check(err)
		sum += s
	}
	ts.Check(os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod+")\n"), 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o644))
}

// cmdGoSum appends to DIR/go.sum the lines of a module that go.mod does not name,
// with another hash of its content if one is given: gosum DIR mod@version [HASH]
func cmdGoSum(ts *testscript.TestScript, _ bool, args []string) {
	m, v, _ := strings.Cut(args[1], "@")
	s, err := hashes(m, v)
	ts.Check(err)
	if len(args) > 2 {
		s = m + " " + v + " " + args[2] + "\n"
	}
	f, err := os.OpenFile(filepath.Join(ts.MkAbs(args[0]), "go.sum"), os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	_, err = f.WriteString(s)
	ts.Check(errors.Join(err, f.Close()))
}

// cmdSchema changes the schema version of a store: schema FILE +N
func cmdSchema(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	db, err := sql.Open("sqlite3", "file:"+ts.MkAbs(args[0])+"?_journal_mode=DELETE")
	ts.Check(err)
	var version int
	ts.Check(db.QueryRow("PRAGMA user_version").Scan(&version))
	_, err = db.Exec(fmt.Sprintf("PRAGMA user_version = %d", version+n))
	ts.Check(errors.Join(err, db.Close()))
}

// cmdCommit commits all of DIR on the branch main: commit DIR
func cmdCommit(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	repo, err := git.PlainOpen(dir)
	if err != nil {
		repo, err = git.PlainInit(dir, false)
	}
	ts.Check(err)
	w, err := repo.Worktree()
	ts.Check(err)
	ts.Check(w.AddGlob("."))
	_, err = w.Commit("commit", &git.CommitOptions{Author: &object.Signature{Name: "dev", Email: "dev@example.com", When: time.Unix(1600000000, 0)}})
	ts.Check(err)
}

// cmdSSHKey makes a key and appends it as an approver to FILE: sshkey KEY NAME FILE
func cmdSSHKey(ts *testscript.TestScript, _ bool, args []string) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	block, err := ssh.MarshalPrivateKey(priv, "")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(block), 0o600))
	spub, err := ssh.NewPublicKey(pub)
	ts.Check(err)
	addApprover(ts, args[2], args[1], "    ssh: "+string(ssh.MarshalAuthorizedKey(spub)))
}

// cmdExit runs headgate from a shell and demands an exit code: exit CODE args...
func cmdExit(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("sh", append([]string{"-c", `headgate "$@"; test $? -eq "$0" || { echo "exit code is not $0" >&2; exit 99; }`}, args...)...)
	if err != nil {
		ts.Fatalf("headgate %s: %v", strings.Join(args[1:], " "), err)
	}
}

// cmdReplace replaces text in a file: replace FILE OLD NEW
func cmdReplace(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if !strings.Contains(string(b), args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(string(b), args[1], args[2])), 0o644))
}

// cmdFirstID puts the first id with a prefix on standard output into a variable: firstid VAR PREFIX
func cmdFirstID(ts *testscript.TestScript, _ bool, args []string) {
	id := regexp.MustCompile(regexp.QuoteMeta(args[1]) + `[0-9a-f]+`).FindString(ts.ReadFile("stdout"))
	if id == "" {
		ts.Fatalf("no id %s… on standard output", args[1])
	}
	ts.Setenv(args[0], id)
}

// cmdGrab puts what the first group of a pattern matches into a variable: grab VAR stdout|stderr PATTERN
func cmdGrab(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if len(m) < 2 {
		ts.Fatalf("%s does not match %q", args[1], args[2])
	}
	ts.Setenv(args[0], m[1])
}

// cmdTamper alters the store behind headgate's back: tamper SQL...
func cmdTamper(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite3", filepath.Join(ts.Getenv("XDG_DATA_HOME"), "headgate", "trust.db"))
	ts.Check(err)
	defer db.Close()
	res, err := db.Exec("PRAGMA foreign_keys = 0; " + strings.Join(args, " "))
	ts.Check(err)
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("nothing was altered: %v", err)
	}
}

// cmdMergeGit merges two versions of a file with git itself, by the repository's
// own attributes: mergegit FILE BASE OURS THEIRS
func cmdMergeGit(ts *testscript.TestScript, _ bool, args []string) {
	if _, err := exec.LookPath("git"); err != nil {
		ts.Fatalf("git is needed: %v", err)
	}
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), "merge")
	ts.Check(err)
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-c", "user.name=dev", "-c", "user.email=dev@example.com", "-c", "init.defaultBranch=main", "-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		ts.Logf("%s", out)
		ts.Check(err)
	}
	put := func(from string) {
		b, err := os.ReadFile(ts.MkAbs(from))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, TrustFile), b, 0o644))
		git("add", ".")
		git("commit", "-q", "-m", "change")
	}
	git("init", "-q")
	ts.Check(os.WriteFile(filepath.Join(dir, ".gitattributes"), []byte(TrustFile+" merge=union\n"), 0o644))
	put(args[1])
	git("checkout", "-q", "-b", "theirs")
	put(args[3])
	git("checkout", "-q", "main")
	put(args[2])
	git("merge", "-q", "-m", "merge", "theirs")
	b, err := os.ReadFile(filepath.Join(dir, TrustFile))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}
