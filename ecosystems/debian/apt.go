package debian

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// Bounds of the user's apt sources.
const (
	MaxSourcesFile = 1 << 20 // bytes of one file
	MaxSourceFiles = 256     // files
	MaxForeign     = 64      // suites of archives that belong to no distribution
)

// source is one binary archive of apt's configuration, for one suite.
type source struct {
	uri, suite string
	signedBy   string // file, or armoured key
	snapshot   string // time of a snapshot, if one is asked for
}

// readApt reads the apt sources of the machine that headgate runs on
// (https://manpages.debian.org/sources.list.5): mirrors of distributions, and
// archives of others with the keys that they are signed by. An archive of
// others without Signed-By is left out: every key that apt knows could sign
// there. What cannot be read is left out too, as nothing is trusted by it.
func (c *Config) readApt(dir string) {
	files := []string{filepath.Join(dir, "sources.list")}
	parts, err := os.ReadDir(filepath.Join(dir, "sources.list.d"))
	if err == nil {
		for _, p := range parts {
			files = append(files, filepath.Join(dir, "sources.list.d", p.Name()))
		}
	}
	for _, f := range files[:min(len(files), MaxSourceFiles)] {
		b, err := upstream.ReadUserFile(f, MaxSourcesFile, "the user's apt sources")
		if err != nil {
			continue
		}
		switch filepath.Ext(f) {
		case ".list":
			c.add(oneLine(b))
		case ".sources":
			c.add(deb822(b))
		}
	}
}

// add sorts sources by whose archive they are.
func (c *Config) add(ss []source) {
	for _, s := range ss {
		base, _, err := upstream.RegistryURL(s.uri, "the user's apt sources")
		u, perr := url.Parse(s.uri)
		if err != nil || perr != nil || u.User != nil || s.suite == "" || strings.HasSuffix(s.suite, "/") || !plainPath(s.suite) {
			continue // cdrom:, file:, mirror+https:, flat archives, URLs with secrets
		}
		if distribution := ofDistribution(s); distribution != "" {
			snap, ok := snapshotOf(base)
			if !ok && s.snapshot != "" {
				snap, ok = snapshotOf(base + s.snapshot)
			}
			switch {
			case ok && len(c.Snapshots) < MaxSnapshots && !slices.Contains(c.Snapshots, snap):
				c.Snapshots = append(c.Snapshots, snap)
			case ok || public(u.Hostname()):
				continue // asked as it is, by https
			case c.Mirrors[s.suite] == "":
				if c.Mirrors == nil {
					c.Mirrors = map[string]string{}
				}
				c.Mirrors[s.suite] = base
			}
		} else {
			f := Foreign{Base: base, Suite: s.suite, keys: signedBy(s.signedBy)}
			known := slices.ContainsFunc(c.Foreign, func(o Foreign) bool { return o.Base == f.Base && o.Suite == f.Suite })
			if f.keys.empty() || known || len(c.Foreign) >= MaxForeign {
				continue
			}
			c.Foreign = append(c.Foreign, f)
		}
		if u.Scheme == "http" && !slices.Contains(c.Insecure, u.Host) {
			c.Insecure = append(c.Insecure, u.Host)
		}
	}
}

// public reports whether the host is that of a distribution itself.
func public(host string) bool {
	for _, h := range []string{debianHost, ubuntuHost, ubuntuPorts} {
		if strings.EqualFold("https://"+host, h) {
			return true
		}
	}
	return strings.HasSuffix(host, ".debian.org") || strings.HasSuffix(host, ".ubuntu.com")
}

// ofDistribution names the distribution whose suite a source is, "" if it is none
// of them. Other archives name their suites after releases too, but have keys of
// their own: only the distribution's keyring, or none, makes it the distribution's.
func ofDistribution(s source) string {
	for d, names := range codenames {
		for _, n := range names {
			if s.suite != n && !strings.HasPrefix(s.suite, n+"-") {
				continue
			}
			if s.signedBy == "" || strings.HasPrefix(filepath.Base(s.signedBy), d+"-archive-") {
				return d
			}
		}
	}
	return ""
}

// signedBy reads a Signed-By: paths of keyring files, or an armoured key. Bare
// fingerprints choose among keys that apt trusts for everything; headgate has none.
func signedBy(v string) keyFiles {
	if strings.Contains(v, "BEGIN PGP PUBLIC KEY BLOCK") {
		return keyFiles{inline: v}
	}
	var k keyFiles
	for f := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		if filepath.IsAbs(f) {
			k.files = append(k.files, f)
		}
	}
	return k
}

// oneLine reads the older form: deb [option=value ...] uri suite component...
func oneLine(b []byte) []source {
	var out []source
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), "deb ")
		if !ok {
			continue
		}
		var s source
		if opts, ok := strings.CutPrefix(strings.TrimSpace(rest), "["); ok {
			opts, rest, ok = strings.Cut(opts, "]")
			if !ok {
				continue
			}
			for o := range strings.FieldsSeq(opts) {
				switch k, v, _ := strings.Cut(o, "="); strings.ToLower(k) {
				case "signed-by":
					s.signedBy = v
				case "snapshot":
					s.snapshot = v
				}
			}
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		s.uri, s.suite = f[0], f[1]
		out = append(out, s)
	}
	return out
}

// deb822 reads the form with fields.
func deb822(b []byte) []source {
	var kept []byte
	for line := range bytes.Lines(b) { // comments may stand between a field's lines
		if !bytes.HasPrefix(line, []byte("#")) {
			kept = append(kept, line...)
		}
	}
	wanted := map[string]bool{"types": true, "uris": true, "suites": true, "signed-by": true, "enabled": true, "snapshot": true}
	c := newControl(bytes.NewReader(kept), MaxSourcesFile, func(f string) bool { return wanted[f] })
	var out []source
	for {
		st, err := c.next()
		if errors.Is(err, io.EOF) || err != nil {
			return out
		}
		if !slices.Contains(strings.Fields(st["types"]), "deb") || slices.Contains([]string{"no", "false", "without", "off", "disable"}, strings.ToLower(st["enabled"])) {
			continue
		}
		for uri := range strings.FieldsSeq(st["uris"]) {
			for name := range strings.FieldsSeq(st["suites"]) {
				// A blank line of a key is written as a dot.
				key := strings.ReplaceAll(st["signed-by"], "\n.\n", "\n\n")
				out = append(out, source{uri: uri, suite: name, signedBy: strings.TrimSpace(key), snapshot: st["snapshot"]})
			}
		}
	}
}
