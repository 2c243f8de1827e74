// Package adaptertest is the shared suite that every adapter passes.
//
// An adapter's test builds a Fixture and calls Run:
//
//	func TestAdapter(t *testing.T) {
//		adaptertest.Run(t, adaptertest.Fixture{
//			Checks: []trust.Check{trust.CheckRegistrySig},
//			Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
//				up := newFakeRegistry(t)        // an http.Handler; keys made here, at run time
//				switch env.Scenario {           // only what needs to know the format
//				case adaptertest.WrongName:     up.serveOtherPackage()
//				case adaptertest.WrongVersion:  up.serveOtherVersion()
//				case adaptertest.WrongDigest:   up.signOtherDigest()
//				case adaptertest.Stripped:      up.removeSignatures()
//				case adaptertest.ForeignSigner: up.signWith(strangersKey)
//				case adaptertest.Duplicate:     up.serveTwoSignatures()
//				case adaptertest.Expired:       up.signWith(expiredKey)
//				case adaptertest.Replayed:      up.serveEarlierState()
//				}
//				base := env.Serve(up)
//				return adaptertest.World{
//					Adapter: New(Config{Registry: base, Getter: env.Getter(), Clock: env.Clock}),
//					Request: adapter.Request{Component: component},
//				}
//			},
//		})
//	}
//
// Build is called afresh for every scenario. What can be done to any protocol
// (malformed, endless, slow, redirected, rate-limited) Env.Serve does itself
// around the handler; Build serves the right answers then. Env.Getter is a real
// upstream.Client with short time-outs, without a cache, that has a credential
// for the served hosts; call it after the last Serve.
//
// The suite refuses: verified evidence of one of Checks, or with any assurance,
// in every scenario but Right; outcomes of another class than the scenario's;
// evidence that does not pass Validate, is about another release or belongs to a
// check that Describe does not name; errors other than a cancelled context's;
// panics; credentials at a foreign host. Where an ecosystem rightly answers in
// another way, Fixture.Expect says so for that scenario; where a scenario cannot
// exist, Fixture.Skip says why. A scenario that Build forgets is served right, so
// that its evidence is verified and the suite fails: no row can be missing.
package adaptertest
