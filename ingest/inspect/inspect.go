package inspect

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// Bounds of one inspection. They count output, not what headers declare.
const (
	MaxEntries  = 250_000
	MaxUnpacked = 4 << 30
	MaxContent  = 128 << 20
	MaxNesting  = 3
	MaxPath     = 4096
	// MaxRatio is how much output one byte of input may become once BombFloor bytes
	// have come out; honest packages stay below 200.
	MaxRatio  = 1000
	BombFloor = 64 << 20
	// MaxObservations bounds what one package can make a person read.
	MaxObservations = 500
	// MaxHarmless is how many odd archives among test data are named; the others are
	// counted.
	MaxHarmless = 2
)

// Kinds of observation, as policies.Observation.Kind.
const (
	KindPathEscape    = "path-escape"          // an entry's name leaves the package
	KindLink          = "link"                 // symbolic or hard link
	KindDevice        = "device"               // device, pipe, socket
	KindBomb          = "archive-bomb"         // far more output than input, or beyond a bound
	KindDuplicate     = "duplicate-entry"      // one name twice
	KindCaseCollision = "case-collision"       // names that meet on case-insensitive systems
	KindTwoReadings   = "ambiguous-archive"    // two unpackers would see different files
	KindUnreadable    = "unreadable"           // the archive, or a file that must be understood, is malformed
	KindInstallCode   = "install-code"         // code that runs when the package is installed or built
	KindManifest      = "manifest-mismatch"    // package and registry describe different things
	KindNative        = "native-code"          // PE, ELF or Mach-O
	KindNativeUnsig   = "native-unsigned"      // PE without a signature
	KindNativeBadSig  = "native-bad-signature" // PE whose signature does not verify
	KindHidden        = "hidden-data"          // data that a signature or a format's end does not cover
	KindSigned        = "native-signer"        // PE signed by …
	KindUnvouched     = "native-unvouched"     // PE whose signature is sound and whose signer nobody pinned vouches for
	KindNested        = "nested-archive"       // archive inside the archive that could not be looked into
	KindForeign       = "foreign-classes"      // classes of other groups (shaded)
	KindTooLarge      = "too-large"            // entry beyond MaxContent, not looked into
)

// Options say what the bytes should be.
type Options struct {
	Release trust.Release
	// FileName is upstream's file name; its ending selects the archive format
	// together with the magic bytes.
	FileName string
	// Manifest is the registry's own record of the release, if the ecosystem has one
	// (npm: the version object of the packument).
	Manifest []byte
	// Authenticode judges one PE file; nil leaves signatures unjudged, which is
	// itself observed.
	Authenticode func(r io.ReaderAt, size int64) Authenticode
	// Blobs asks for git's names of all files, for a comparison with a source tree.
	Blobs bool
	// Deep asks what the source of a Go module reaches: programs, network, system
	// calls, C. It is a reading of imports and directives, no analysis of calls.
	Deep bool
}

// Authenticode is the verdict on one PE file.
type Authenticode struct {
	Signed bool
	Signer *trust.Signer
	// Invalid is why the signature does not verify; empty if it does.
	Invalid string
	// Hidden is what lies in the file without being covered by the signature; empty if nothing.
	Hidden string
	// Unreadable is why nothing can be said of the file; empty if something can.
	Unreadable string
	// Unvouched says of a sound signature why nobody pinned vouches for its signer.
	Unvouched string
	// Extras are what the signature itself carries and does not cover.
	Extras []string
}

// File is one file of a package.
type File struct {
	SHA256 string
	// Blob is git's name of the content, for finding it in a source tree; it proves
	// nothing. Empty unless Options.Blobs, and for files beyond MaxContent.
	Blob   string
	Size   int64
	Native bool
}

// Report is what was found in one artifact.
type Report struct {
	Version string // of the release, which stands in many paths
	// Commit is the source commit that the package or the registry's record of it
	// names without signing it; empty if neither does.
	Commit       string
	Observations []policies.Observation
	Files        map[string]File // by path inside the package, nested archives as "a.jar!/b"

	// top is the folder that all files stand below, where the format has a fixed one;
	// anyTop says that it is the first path element, whatever its name.
	top    string
	anyTop bool
}

// errStop ends the walk of one archive after an observation that makes going on
// pointless; the walk of the archive around it goes on unless inspection.over.
var errStop = errors.New("inspection stopped")

// Package inspects one artifact. An error is a cancelled context or a failing
// reader; everything about the bytes themselves is an observation.
func Package(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Report, error) {
	in := &inspection{
		ctx: ctx, opts: o, report: &Report{Version: o.Release.Version, Files: map[string]File{}}, texts: map[string][]byte{},
		levels: []level{{size: size}},
	}
	if o.Deep && o.Release.Package.Type == "golang" {
		in.code = newGoCode(MaxGoSource)
	}
	switch r := o.Release; {
	case r.Package.Type == "golang":
		in.report.top = r.Package.FullName() + "@" + r.Version + "/"
	case !strings.HasSuffix(o.FileName, ".whl") && r.Package.Type != "nuget" && r.Package.Type != "maven" && r.Package.Type != "gem":
		in.report.anyTop = true
	}
	err := in.archive(r, size, o.FileName, "", 0)
	if err != nil && !errors.Is(err, errStop) {
		return nil, fmt.Errorf("inspecting %s: %w", o.Release, err)
	}
	if err == nil {
		in.ecosystem()
	}
	if in.code != nil {
		for _, obs := range in.code.observations() {
			in.see(obs)
		}
	}
	if more := in.harmless - MaxHarmless; more > 0 {
		in.seef(KindUnreadable, "", "", "%d more oddities of archives among test data, like those above", more)
	}
	slices.SortStableFunc(in.report.Observations, func(a, b policies.Observation) int {
		return strings.Compare(a.Kind+"\x00"+a.Entry+"\x00"+a.Detail, b.Kind+"\x00"+b.Entry+"\x00"+b.Detail)
	})
	in.report.Observations = slices.CompactFunc(in.report.Observations, func(a, b policies.Observation) bool {
		return a.Kind == b.Kind && a.Entry == b.Entry && a.Detail == b.Detail
	})
	return in.report, nil
}

// inspection is the state of one walk.
type inspection struct {
	ctx     context.Context
	opts    Options
	report  *Report
	output  int64
	entries int
	// levels are the archives that are open, the package itself first.
	levels []level
	buf    []byte // see content
	code   *goCode
	// harmless counts odd archives among test data.
	harmless int
	// over says that a bound of the whole inspection is reached.
	over bool
	// texts are the few files that ecosystem rules read, by path without the
	// package's top folder.
	texts map[string][]byte
}

// level is one open archive: its bytes, and the output that there was before it.
type level struct {
	size, before int64
}

func (in *inspection) see(o policies.Observation) {
	if effect := in.effect(o); effect != o.Effect {
		o.Effect, o.Detail = effect, o.Detail+"; no package manager unpacks this archive"
		if effect == "" {
			if in.harmless++; in.harmless > MaxHarmless {
				return
			}
		}
	}
	if len(in.report.Observations) == MaxObservations {
		o = policies.Observation{Kind: KindTooLarge, Effect: trust.EffectHold, Detail: fmt.Sprintf("more than %d observations; the rest is left out", MaxObservations)}
	} else if len(in.report.Observations) > MaxObservations {
		return
	}
	in.report.Observations = append(in.report.Observations, o)
}

func (in *inspection) seef(kind string, effect trust.Effect, entry, format string, args ...any) {
	in.see(policies.Observation{Kind: kind, Effect: effect, Entry: entry, Detail: fmt.Sprintf(format, args...)})
}

// meter counts output over all levels and stops at the bounds.
type meter struct {
	in    *inspection
	r     io.Reader
	entry string
}

func (m meter) Read(p []byte) (int, error) {
	if err := m.in.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.in.output += int64(n)
	if m.in.output > MaxUnpacked {
		m.in.over = true
		m.in.see(policies.Observation{Kind: KindBomb, Effect: trust.EffectBlock, Entry: m.entry, Detail: fmt.Sprintf("unpacks to more than %d bytes", int64(MaxUnpacked))})
		return n, errStop
	}
	for _, l := range m.in.levels {
		if out := m.in.output - l.before; out > BombFloor && out > l.size*MaxRatio {
			m.in.seef(KindBomb, trust.EffectBlock, m.entry, "%d bytes unpack to more than %d", l.size, out)
			return n, errStop
		}
	}
	return n, err
}

// entry is one member of an archive as the readers hand it on.
type entry struct {
	name string // as written in the archive
	kind entryKind
	link string
	size int64 // as declared; -1 if not declared
	body io.Reader
}

type entryKind int

const (
	entryFile entryKind = iota
	entryDir
	entrySymlink
	entryHardlink
	entryDevice
)

// member judges one entry and, if it is a file, its content.
func (in *inspection) member(seen *names, e entry, prefix string, depth int) error {
	if err := in.ctx.Err(); err != nil {
		return err
	}
	in.entries++
	shown := prefix + e.name
	if in.entries > MaxEntries {
		in.over = true
		in.seef(KindBomb, trust.EffectBlock, shown, "more than %d entries", MaxEntries)
		return errStop
	}
	if why := badName(e.name); why != "" {
		in.seef(KindPathEscape, trust.EffectBlock, shown, "the entry's name %s", why)
	}
	switch e.kind {
	case entryDir:
		seen.dir(e.name)
		return nil
	case entrySymlink, entryHardlink:
		in.link(e, shown)
		return nil
	case entryDevice:
		in.seef(KindDevice, trust.EffectBlock, shown, "the entry is a device, pipe or socket")
		return nil
	}
	if other, twice := seen.add(e.name); twice == sameName {
		in.seef(KindDuplicate, trust.EffectBlock, shown, "the archive holds this name twice: unpackers disagree on which counts")
	} else if twice == sameFolded {
		in.seef(KindCaseCollision, trust.EffectBlock, shown, "collides with %s where file names ignore case", prefix+other)
	}
	return in.content(e, shown, depth)
}

func (in *inspection) link(e entry, shown string) {
	if e.kind == entrySymlink && in.opts.Release.Package.Type == "deb" {
		return // dpkg installs into the root, where absolute links lead too: most packages have some
	}
	target := e.link
	if e.kind == entrySymlink && !path.IsAbs(target) {
		target = path.Join(path.Dir(strings.TrimRight(e.name, "/")), target)
	}
	kind := "symbolic"
	if e.kind == entryHardlink {
		kind = "hard"
	}
	effect := trust.EffectBlock
	inside := badName(path.Clean(target)) == "" && !strings.HasPrefix(path.Clean(target), "..")
	if inside && in.nested(shown) {
		return // archives of anything hold such links
	}
	if inside && in.opts.Release.Package.Type != "npm" && in.opts.Release.Package.Type != "cargo" && in.opts.Release.Package.Type != "golang" {
		effect = trust.EffectHold // source distributions of Python and Ruby have such links; npm, cargo and Go never
	}
	in.seef(KindLink, effect, shown, "%s link to %q", kind, e.link)
}

// content hashes a file and looks into it.
func (in *inspection) content(e entry, shown string, depth int) error {
	m := meter{in: in, r: e.body, entry: shown}
	h := sha256.New()
	// One buffer serves all files but those of archives that are open in it.
	head := in.buf[:0]
	in.buf = nil
	buf, err := readUpTo(io.TeeReader(m, h), head, MaxContent+1)
	if err != nil {
		return in.readError(err, shown)
	}
	defer func() {
		if in.buf == nil && cap(buf) <= maxKept {
			in.buf = buf[:0]
		}
	}()
	n := int64(len(buf))
	if n > MaxContent {
		rest, err := io.Copy(h, m)
		if err != nil {
			return in.readError(err, shown)
		}
		n += rest
		in.seef(KindTooLarge, trust.EffectHold, shown, "%d bytes are too many to look into (bound %d)", n, MaxContent)
	}
	if e.size >= 0 && n != e.size {
		in.seef(KindBomb, trust.EffectBlock, shown, "declares %d bytes and holds %d", e.size, n)
	}
	f := File{SHA256: sum(h), Size: n}
	if n <= MaxContent {
		if in.opts.Blobs {
			f.Blob = gitBlob(buf)
		}
		if in.code != nil && depth == 0 {
			in.code.add(in.report.Inside(shown), shown, buf)
		}
		// A file of that name inside an inner archive is not the package's own.
		if in.wanted(e.name) && (depth == 0 || shown == gemMetadata) {
			in.texts[e.name] = bytes.Clone(buf)
		}
		f.Native = in.look(buf, shown)
		if archiveFormat(e.name, buf) != "" && depth < MaxNesting {
			if err := in.inner(buf, e.name, shown, depth+1); err != nil {
				return err
			}
		} else if archiveFormat(e.name, buf) != "" {
			in.seef(KindNested, trust.EffectHold, shown, "archives are nested deeper than %d levels", MaxNesting)
		}
	}
	in.report.Files[shown] = f
	return nil
}

// inner walks an archive inside an archive. One that is damaged or a bomb is left
// there, and the walk around it goes on: whatever follows is looked into all the same.
func (in *inspection) inner(buf []byte, name, shown string, depth int) error {
	in.levels = append(in.levels, level{size: int64(len(buf)), before: in.output})
	err := in.archive(bytes.NewReader(buf), int64(len(buf)), name, shown+"!/", depth)
	l := in.levels[len(in.levels)-1]
	in.levels = in.levels[:len(in.levels)-1]
	if !errors.Is(err, errStop) || in.over {
		return err
	}
	// What a bomb put out is no reason to call the package around it one.
	for i := range in.levels {
		in.levels[i].before += in.output - l.before
	}
	return nil
}

func (in *inspection) readError(err error, shown string) error {
	if errors.Is(err, errStop) || in.ctx.Err() != nil {
		return err
	}
	in.seef(KindUnreadable, trust.EffectHold, shown, "cannot be read: %v", err)
	return errStop
}

// encryptedEntropy is what text, code and padding stay below, in bits per byte.
const encryptedEntropy = 7.5

// maxKept bounds the buffer that is kept from file to file.
const maxKept = 16 << 20

// gitBlob is the name that git gives a file's content.
func gitBlob(b []byte) string {
	h := sha1.New() //nolint:gosec // git's own; the SHA-256 decides
	fmt.Fprintf(h, "blob %d\x00", len(b))
	h.Write(b)
	return sum(h)
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// readUpTo reads at most limit bytes, growing buf as needed.
func readUpTo(r io.Reader, buf []byte, limit int64) ([]byte, error) {
	b := bytes.NewBuffer(buf)
	_, err := b.ReadFrom(io.LimitReader(r, limit))
	return b.Bytes(), err
}

// look finds native code and data behind the end of known formats.
func (in *inspection) look(b []byte, shown string) (native bool) {
	if format := nativeFormat(b); format != "" {
		in.seef(KindNative, "", shown, "%s code", format)
		if format == "PE" {
			in.authenticode(b, shown)
		}
		return true
	}
	if t := trailing(b); t != nil {
		looks := ""
		if t.entropy > encryptedEntropy {
			looks = ", and they look encrypted or compressed"
		}
		in.seef(KindHidden, trust.EffectHold, shown, "%d bytes of data stand behind the end of the %s: programs that show it pass over them%s (entropy %.1f of 8 bits per byte)", t.size, t.format, looks, t.entropy)
	}
	return false
}

func (in *inspection) authenticode(b []byte, shown string) {
	if in.opts.Authenticode == nil {
		in.seef(KindNativeUnsig, "", shown, "signatures of Windows binaries were not judged")
		return
	}
	v := in.opts.Authenticode(bytes.NewReader(b), int64(len(b)))
	switch {
	case v.Hidden != "":
		in.seef(KindHidden, trust.EffectBlock, shown, "%s", v.Hidden)
	case v.Invalid != "":
		in.seef(KindNativeBadSig, trust.EffectBlock, shown, "the binary's signature does not verify: %s", v.Invalid)
	case v.Unreadable != "":
		in.seef(KindUnreadable, trust.EffectHold, shown, "the Windows binary cannot be judged: %s", v.Unreadable)
	case !v.Signed:
		in.seef(KindNativeUnsig, "", shown, "the Windows binary is not signed")
	}
	for _, e := range v.Extras {
		in.seef(KindHidden, trust.EffectHold, shown, "%s", e)
	}
	if v.Unvouched != "" {
		in.seef(KindUnvouched, "", shown, "%s", v.Unvouched)
	}
	if v.Signer != nil {
		in.see(policies.Observation{Kind: KindSigned, Entry: shown, Detail: "signed by " + v.Signer.String(), Signer: v.Signer})
	}
}

// Compare marks what is new in the report against the previous accepted release
// of the package, and what follows from it: code that runs at installation,
// native code in a package that had none, and binaries that are not signed any
// more are held; what the accepted release had already, in the same bytes, is not brought
// in by this one. Without a previous release everything is new. Paths are
// compared without the top folder and the version.
func Compare(now, before *Report) {
	if before == nil {
		for i := range now.Observations {
			now.Observations[i].New = true
		}
		return
	}
	type key struct{ kind, entry, detail string }
	keyOf := func(r *Report, o policies.Observation) key {
		k := key{o.Kind, r.place(o.Entry), ""}
		switch o.Kind {
		case KindInstallCode, KindManifest, KindSigned, KindUnvouched:
			// One file stands for several of these; only the words tell them apart.
			k.detail = r.unversioned(o.Detail)
		case KindCapability:
			k.entry, k.detail = o.Entry, capability(o.Detail)
		}
		return k
	}
	old := map[key]bool{}
	native := false
	var signers []string
	for _, o := range before.Observations {
		old[keyOf(before, o)] = true
		native = native || o.Kind == KindNative
		if o.Signer != nil && !slices.Contains(signers, o.Signer.String()) {
			signers = append(signers, o.Signer.String())
		}
	}
	oldFiles := map[string]File{}
	for p, f := range before.Files {
		oldFiles[before.place(p)] = f
	}
	for i := range now.Observations {
		o := &now.Observations[i]
		o.New = !old[keyOf(now, *o)]
		f, isFile := now.Files[o.Entry]
		same := isFile && oldFiles[now.place(o.Entry)].SHA256 == f.SHA256
		switch o.Kind {
		case KindNative, KindNativeUnsig, KindHidden, KindUnreadable, KindTooLarge, KindNested:
			// These are about a file's bytes: other bytes are another thing.
			o.New = o.New || !same
		}
		switch {
		case !o.New && o.Effect == trust.EffectHold:
			o.Effect = ""
		case !o.New || o.Effect != "":
		case o.Kind == KindInstallCode:
			o.Effect = trust.EffectHold
			o.Detail += "; the release before did not do this"
		case o.Kind == KindNative && !native:
			o.Effect = trust.EffectHold
			o.Detail += "; the release before had no native code at all"
		case o.Kind == KindSigned && len(signers) > 0 && !slices.Contains(signers, o.Signer.String()):
			// Who may sign binaries is the policy's business: a signer can be accepted.
			o.Detail += "; the binaries of the release before were signed by " + strings.Join(signers, ", ")
		case (o.Kind == KindNativeUnsig || o.Kind == KindUnvouched) && len(signers) > 0 && !same:
			o.Effect = trust.EffectHold
			o.Detail += "; the binaries of the release before were signed by " + strings.Join(signers, ", ")
		}
	}
}

// Comparable reports whether the report holds anything that a comparison with
// the previous release would judge.
func (r *Report) Comparable() bool {
	return slices.ContainsFunc(r.Observations, func(o policies.Observation) bool { return o.Effect != trust.EffectBlock })
}

// Inside is a file's path without the package's top folder, if its format has one.
func (r *Report) Inside(p string) string {
	if r.anyTop {
		return trimTop(p)
	}
	return strings.TrimPrefix(p, r.top)
}

// Place is a file's path without what changes with every release.
func (r *Report) Place(p string) string { return r.place(p) }

// place is a path without what changes with every release.
func (r *Report) place(p string) string { return r.unversioned(trimTop(p)) }

func (r *Report) unversioned(s string) string {
	if r.Version == "" {
		return s
	}
	return strings.ReplaceAll(s, r.Version, "*")
}

// trimTop drops the first path element.
func trimTop(p string) string {
	if _, rest, ok := strings.Cut(p, "/"); ok {
		return rest
	}
	return p
}
