package golang

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// Defaults of the go command: the module proxy, and the checksum database's
// verifier key, which names its host.
const (
	DefaultProxy    = "https://proxy.golang.org"
	DefaultSumDBKey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
	sumDBMirror     = "sum.golang.google.cn" // alias of the default database where its own host cannot be reached
)

// Bounds of the configuration.
const (
	MaxEnvFile = 1 << 20
	MaxProxies = 16
)

// Environment is what the go command's variables say.
type Environment struct {
	Proxies []Proxy
	NoProxy string // GONOPROXY, or GOPRIVATE: patterns of modules that no proxy is asked for
	NoSumDB string // GONOSUMDB, or GOPRIVATE: patterns of modules that the database is not asked for
	SumDB   SumDB
	// Credentials are user names and passwords that stood in proxy URLs.
	Credentials upstream.Scopes
	// Notes are settings that headgate does not follow, in sentences.
	Notes []string
}

// Proxy is one entry of GOPROXY.
type Proxy struct {
	URL string // without a slash at the end; "direct" and "off" stand for themselves
	// AnyError: go on with the next entry after any error ("|"), not only when the
	// proxy says that it does not have the module (",").
	AnyError bool
}

// SumDB is the checksum database of GOSUMDB.
type SumDB struct {
	Off  bool
	Name string
	Key  string // verifier key
	URL  string // base URL where GOSUMDB gives one; then no proxy stands between
	Base string // where the database itself is
}

// EnvFromOS reads the variables with getenv and the user's own `go env` file;
// home is the user's home directory. A setting that cannot be understood is an
// error, since any reading of it might ask less than the user meant.
func EnvFromOS(getenv func(string) string, home string) (Environment, error) {
	file, err := readEnvFile(getenv, home)
	if err != nil {
		return Environment{}, err
	}
	get := func(k string) string {
		if v := getenv(k); v != "" {
			return v
		}
		return file[k]
	}
	var e Environment
	private := get("GOPRIVATE")
	e.NoProxy, e.NoSumDB = get("GONOPROXY"), get("GONOSUMDB")
	if e.NoProxy == "" {
		e.NoProxy = private
	}
	if e.NoSumDB == "" {
		e.NoSumDB = private
	}
	for k, v := range map[string]*string{"GONOPROXY": &e.NoProxy, "GONOSUMDB": &e.NoSumDB} {
		if *v == "none" { // the go command's way to say "no pattern" over GOPRIVATE
			*v = ""
		}
		if strings.ContainsAny(*v, "\n\x00") {
			return Environment{}, fmt.Errorf("%s holds control characters", k)
		}
	}
	if err := e.proxies(get("GOPROXY")); err != nil {
		return Environment{}, err
	}
	if e.SumDB, err = parseSumDB(get("GOSUMDB")); err != nil {
		return Environment{}, err
	}
	if get("GONOSUMCHECK") != "" {
		e.Notes = append(e.Notes, "GONOSUMCHECK is set and not followed: the checksum database is asked all the same")
	}
	if get("GOINSECURE") != "" {
		e.Notes = append(e.Notes, "GOINSECURE is set and not followed: list hosts as insecure in headgate's own configuration")
	}
	for f := range strings.FieldsSeq(get("GOFLAGS")) {
		if f = strings.TrimLeft(f, "-"); f == "insecure" || strings.HasPrefix(f, "insecure=") {
			e.Notes = append(e.Notes, "GOFLAGS has -insecure, which is refused: hashes are checked all the same")
		}
	}
	return e, nil
}

func (e *Environment) proxies(list string) error {
	if list == "" {
		list = DefaultProxy + ",direct"
	}
	for list != "" {
		entry, anyError := list, false
		if i := strings.IndexAny(list, ",|"); i >= 0 {
			entry, anyError, list = list[:i], list[i] == '|', list[i+1:]
		} else {
			list = ""
		}
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if len(e.Proxies) == MaxProxies {
			return fmt.Errorf("GOPROXY has more than %d entries", MaxProxies)
		}
		p := Proxy{URL: entry, AnyError: anyError}
		if entry == "direct" || entry == "off" {
			e.Proxies = append(e.Proxies, p)
			return nil // what follows is never reached
		}
		if !strings.Contains(entry, "://") {
			entry = "https://" + entry
		}
		u, err := url.Parse(entry)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return errors.New("GOPROXY has an entry that is no https URL; correct it or set GOPROXY in your environment")
		}
		if u.User != nil {
			pw, _ := u.User.Password()
			e.Credentials = append(e.Credentials, upstream.Scope{Host: u.Host, Path: u.Path, Header: upstream.Basic(u.User.Username(), pw)})
			u.User = nil
		}
		p.URL = strings.TrimRight(u.String(), "/")
		e.Proxies = append(e.Proxies, p)
	}
	if len(e.Proxies) == 0 {
		return errors.New("GOPROXY is not empty, but names no proxy")
	}
	return nil
}

func parseSumDB(s string) (SumDB, error) {
	def, err := note.NewVerifier(DefaultSumDBKey)
	if err != nil {
		return SumDB{}, fmt.Errorf("default checksum database: %w", err)
	}
	off := false
	switch s {
	case "", def.Name():
		s = DefaultSumDBKey
	case sumDBMirror:
		s = DefaultSumDBKey + " https://" + sumDBMirror
	case "off": // the key is kept for toolchains, which the go command checks all the same
		s, off = DefaultSumDBKey, true
	}
	f := strings.Fields(s)
	if len(f) == 0 || len(f) > 2 {
		return SumDB{}, errors.New(`GOSUMDB is not of the form "key" or "key URL"`)
	}
	if f[0] == def.Name() {
		f[0] = DefaultSumDBKey
	}
	v, err := note.NewVerifier(f[0])
	if err != nil {
		return SumDB{}, errors.New("GOSUMDB names a database whose key is unknown; write its verifier key (name+hash+key)")
	}
	db := SumDB{Off: off, Name: v.Name(), Key: f[0], Base: "https://" + v.Name()}
	if u, err := url.Parse(db.Base); err != nil || u.Host+u.Path != v.Name() || u.RawQuery != "" || strings.Contains(v.Name(), "..") {
		return SumDB{}, errors.New("GOSUMDB has a database name that is no host name")
	}
	if len(f) == 2 {
		u, err := url.Parse(f[1])
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
			return SumDB{}, errors.New("GOSUMDB has a URL that is no https URL")
		}
		db.URL = strings.TrimRight(u.String(), "/")
	}
	return db, nil
}

// readEnvFile reads the file that `go env -w` writes.
func readEnvFile(getenv func(string) string, home string) (map[string]string, error) {
	p := getenv("GOENV")
	if p == "off" {
		return nil, nil
	}
	if p == "" {
		dir := ""
		switch runtime.GOOS {
		case "windows":
			dir = getenv("AppData")
		case "darwin", "ios":
			if home != "" {
				dir = filepath.Join(home, "Library", "Application Support")
			}
		default:
			if dir = getenv("XDG_CONFIG_HOME"); dir == "" && home != "" {
				dir = filepath.Join(home, ".config")
			}
		}
		if !filepath.IsAbs(dir) {
			return nil, nil
		}
		p = filepath.Join(dir, "go", "env")
	}
	b, err := upstream.ReadUserFile(p, MaxEnvFile, "the go command's own settings")
	if err != nil || b == nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.SplitSeq(string(b), "\n") {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || k == "" || k[0] < 'A' || k[0] > 'Z' {
			continue
		}
		out[k] = v
	}
	return out, nil
}

// matches reports whether a module is one of the comma-separated patterns.
func matches(patterns, mod string) bool { return module.MatchPrefixPatterns(patterns, mod) }
