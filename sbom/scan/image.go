package scan

import (
	"archive/tar"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/anchore/stereoscope"
	"github.com/anchore/stereoscope/pkg/image"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/pkg/cataloger/alpine"
	"github.com/anchore/syft/syft/pkg/cataloger/arch"
	"github.com/anchore/syft/syft/pkg/cataloger/conda"
	"github.com/anchore/syft/syft/pkg/cataloger/debian"
	"github.com/anchore/syft/syft/pkg/cataloger/dotnet"
	"github.com/anchore/syft/syft/pkg/cataloger/gentoo"
	"github.com/anchore/syft/syft/pkg/cataloger/golang"
	"github.com/anchore/syft/syft/pkg/cataloger/java"
	"github.com/anchore/syft/syft/pkg/cataloger/javascript"
	"github.com/anchore/syft/syft/pkg/cataloger/php"
	"github.com/anchore/syft/syft/pkg/cataloger/python"
	"github.com/anchore/syft/syft/pkg/cataloger/r"
	"github.com/anchore/syft/syft/pkg/cataloger/redhat"
	"github.com/anchore/syft/syft/pkg/cataloger/ruby"
	"github.com/anchore/syft/syft/pkg/cataloger/rust"
	syftsource "github.com/anchore/syft/syft/source"
	"github.com/anchore/syft/syft/source/stereoscopesource"
	"github.com/mattn/go-sqlite3"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// maxTarPeek bounds the entries of an archive that are looked at for their names.
const maxTarPeek = 16

// sqliteOnce gives the rpm cataloger the SQL driver name that it asks for.
var sqliteOnce = sync.OnceFunc(func() {
	if !slices.Contains(sql.Drivers(), "sqlite") {
		sql.Register("sqlite", &sqlite3.SQLiteDriver{})
	}
})

// installed are the catalogers of what is installed in an image: distribution
// packages and language packages. Syft's guesses about single binaries are not
// among them: they name no package of any registry.
func installed() []pkg.Cataloger {
	sqliteOnce()
	return []pkg.Cataloger{
		debian.NewDBCataloger(), alpine.NewDBCataloger(), redhat.NewDBCataloger(), arch.NewDBCataloger(), gentoo.NewPortageCataloger(),
		javascript.NewPackageCataloger(), python.NewInstalledPackageCataloger(), ruby.NewInstalledGemSpecCataloger(),
		php.NewComposerInstalledCataloger(), rust.NewAuditBinaryCataloger(), conda.NewCondaMetaCataloger(), r.NewPackageCataloger(),
		dotnet.NewDotnetDepsBinaryCataloger(dotnet.DefaultCatalogerConfig()),
		java.NewArchiveCataloger(java.DefaultArchiveCatalogerConfig().WithUseNetwork(false).WithUseMavenLocalRepository(false)),
		golang.NewGoModuleBinaryCataloger(golang.DefaultCatalogerConfig().WithUsePackagesLib(false).
			WithSearchLocalModCacheLicenses(false).WithSearchLocalVendorLicenses(false).WithSearchRemoteLicenses(false)),
	}
}

// providers are the library's names of the schemes.
var providers = map[string]string{
	schemeOCIArchive: image.OciTarballSource, schemeOCIDir: image.OciDirectorySource,
	schemeDockerArchive: image.DockerTarballSource, schemeRegistry: image.OciRegistrySource,
}

func openImage(ctx context.Context, scheme, name string, opt Options) (*sbom.Inventory, error) {
	if scheme == schemeOCIArchive || scheme == schemeDockerArchive {
		if err := checkArchive(name); err != nil {
			return nil, fmt.Errorf("opening image %s:%s: %w", scheme, name, err)
		}
	}
	// Syft's root package would do the same, and brings every cataloger and every
	// SBOM format along: 130 packages that each start of the program pays for.
	with := []stereoscope.Option{stereoscope.WithRegistryOptions(image.RegistryOptions{InsecureUseHTTP: opt.InsecureRegistry})}
	if opt.Platform != "" {
		if _, err := image.NewPlatform(opt.Platform); err != nil {
			return nil, fmt.Errorf("platform %q: %w: %w", opt.Platform, ErrSource, err)
		}
		with = append(with, stereoscope.WithPlatform(opt.Platform))
	}
	img, err := stereoscope.GetImageFromSource(ctx, name, providers[scheme], with...)
	if err != nil {
		return nil, fmt.Errorf("opening image %s:%s: %w", scheme, name, err)
	}
	src := stereoscopesource.New(img, stereoscopesource.ImageConfig{Reference: name})
	defer src.Close()
	inv := &sbom.Inventory{Source: sbom.Source{Scheme: scheme, Name: name}}
	if m, ok := src.Describe().Metadata.(syftsource.ImageMetadata); ok {
		inv.Source.Revision = m.ManifestDigest
		inv.Source.Format = m.MediaType
	}
	resolver, err := src.FileResolver(syftsource.SquashedScope)
	if err != nil {
		return nil, fmt.Errorf("reading image %s:%s: %w", scheme, name, err)
	}
	problem := func(code sbom.ProblemCode, where, detail string) {
		inv.Problems = append(inv.Problems, sbom.Problem{Code: code, Detail: detail, Location: trust.Location{Path: where}})
	}
	for _, c := range installed() {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading image %s:%s: %w", scheme, name, err)
		}
		packages, err := catalog(ctx, c, resolver)
		if err != nil {
			problem(sbom.ProblemUnparsable, "", c.Name()+": "+firstLine(err.Error()))
		}
		for i := range packages {
			p := &packages[i]
			where := ""
			if ls := p.Locations.ToSlice(); len(ls) > 0 {
				where = strings.TrimPrefix(ls[0].RealPath, "/")
			}
			switch {
			case p.PURL == "":
				problem(sbom.ProblemNoPURL, where, fmt.Sprintf("package %q %q has no package URL", p.Name, p.Version))
			default:
				r, err := trust.ParseRelease(p.PURL)
				if err != nil {
					problem(sbom.ProblemBadPURL, where, err.Error())
					continue
				}
				inv.Components = append(inv.Components, imageComponent(p, r, where))
			}
		}
		if len(inv.Components) > MaxComponents {
			return nil, fmt.Errorf("reading image %s:%s: more than %d packages: %w", scheme, name, MaxComponents, ErrTooLarge)
		}
	}
	if len(inv.Components) == 0 {
		problem(sbom.ProblemSkipped, "", "no package is recorded in the image; a binary that was copied in has no record")
	}
	inv.Components = merge(inv.Components)
	inv.Sort()
	return inv, nil
}

// catalog runs one cataloger; a panic of the library is an error.
func catalog(ctx context.Context, c pkg.Cataloger, resolver file.Resolver) (packages []pkg.Package, err error) {
	defer func() {
		if r := recover(); r != nil {
			packages, err = nil, fmt.Errorf("the cataloger panicked: %v", r)
		}
	}()
	packages, _, err = c.Catalog(ctx, resolver)
	return packages, err
}

func imageComponent(p *pkg.Package, r trust.Release, where string) sbom.Component {
	c := sbom.Component{Release: r, Kind: sbom.KindRegistry, Locations: []trust.Location{{Path: where}}}
	switch m := p.Metadata.(type) {
	case pkg.GolangBinaryBuildinfoEntry:
		// Syft's package URL puts part of the module path into the subpath.
		namespace, base := path.Split(p.Name)
		if mod, err := trust.NewRelease("golang", namespace, base, p.Version); err == nil {
			c.Release = mod
		}
		switch {
		case p.Name == "stdlib":
			c.Kind = sbom.KindToolchain
		case m.MainModule == p.Name:
			// The program itself; no registry need have it.
			c.Kind = sbom.KindWorkspace
		}
		if d, err := trust.ParseDigest(m.H1Digest); err == nil {
			c.Artifacts = []trust.Artifact{{Digests: trust.Digests{d}}}
		}
	case pkg.JavaArchive:
		a := trust.Artifact{}
		for _, d := range m.ArchiveDigests {
			if t, err := trust.NewDigest(trust.Algorithm(strings.ReplaceAll(strings.ToLower(d.Algorithm), "-", "")), d.Value); err == nil {
				a.Digests = append(a.Digests, t)
			}
		}
		if len(a.Digests) > 0 {
			c.Artifacts = []trust.Artifact{a}
		}
	}
	return c
}

// checkArchive refuses what the image library reads wrongly or explains badly.
func checkArchive(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for range maxTarPeek {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not a tar archive (compressed ones must be unpacked first): %w", err)
		}
		if strings.HasPrefix(h.Name, "./") {
			return fmt.Errorf("its entries are named %q, which the image library does not find; pack it again without ./ (tar -C DIR -cf %s index.json oci-layout blobs), or use oci-dir: %w", h.Name, path.Base(name), ErrSource)
		}
	}
	return nil
}
