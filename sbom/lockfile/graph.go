package lockfile

import "github.com/headgate/headgate/sbom"

// graph tells the scope and relation of packages from who asks for whom, for
// formats that do not write them down.
type graph struct {
	edges    map[string][]edge
	runtime  []string
	optional []string
	dev      []string
}

type edge struct {
	to       string
	optional bool
}

// scopes walks from the roots: what runtime roots reach is runtime, what only
// optional edges or roots reach is optional, the rest of what development
// roots reach is development. What no root reaches is absent from the map.
func (g *graph) scopes() map[string]sbom.Scope {
	out := map[string]sbom.Scope{}
	walk := func(roots []string, scope sbom.Scope, followOptional bool) {
		stack := append([]string(nil), roots...)
		for len(stack) > 0 {
			k := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if _, done := out[k]; done {
				continue
			}
			out[k] = scope
			for _, e := range g.edges[k] {
				if followOptional || !e.optional {
					stack = append(stack, e.to)
				}
			}
		}
	}
	walk(g.runtime, sbom.ScopeRuntime, false)
	// Optional edges of runtime packages start the second walk.
	var next []string
	for k := range out {
		for _, e := range g.edges[k] {
			if e.optional {
				next = append(next, e.to)
			}
		}
	}
	walk(append(next, g.optional...), sbom.ScopeOptional, true)
	walk(g.dev, sbom.ScopeDevelopment, true)
	return out
}

// direct returns the set of packages that the project itself asks for.
func (g *graph) direct() map[string]bool {
	out := map[string]bool{}
	for _, roots := range [][]string{g.runtime, g.optional, g.dev} {
		for _, k := range roots {
			out[k] = true
		}
	}
	return out
}

// place sets relation and scope of one package.
func place(c *sbom.Component, key string, scopes map[string]sbom.Scope, direct map[string]bool) {
	c.Scope = scopes[key]
	c.Relation = sbom.RelationTransitive
	if direct[key] {
		c.Relation = sbom.RelationDirect
	}
}
