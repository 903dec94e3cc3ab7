// Package reconciler is the domain of Pave and its loop.
//
// A platform repository at one commit is a [Tree]; read and evaluated it is a
// [Platform]; every request in it is one unit, which a run makes true. What
// happened is a [Record], kept on a branch of its own. The loop compares the
// two and starts runs until nothing differs.
//
// The package knows no tool: Git, CUE, OPA and Terraform are behind the small
// interfaces that it declares, one package each below it. It imports the
// standard library alone.
package reconciler
