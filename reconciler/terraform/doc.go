// Package terraform knows Terraform and OpenTofu: it reads blueprints without
// running them, renders what Pave adds to them, and carries out runs.
//
// A run is a process of its own. [Runner.Start] writes a job into a run
// directory and starts Pave's hidden verb there, which calls [Execute]: check
// the recorded state, plan, judge, apply, write the result. The two sides share
// files and a lock, nothing else, so either may die or be replaced. An engine
// gets a closed environment, values through a variables file alone, and no
// text leaves a run before every secret that the run knows is masked in it.
package terraform
