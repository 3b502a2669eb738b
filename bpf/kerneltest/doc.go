// Package kerneltest holds no code but a test: it boots stock Debian kernels in
// an emulator and runs the checks of package check inside. What must be on the
// machine: apt and dpkg-deb with a Debian archive among apt's sources,
// qemu-system-x86_64, and what the emitter needs to be built statically.
//
// The kernels are fetched on first use into the user's cache directory,
// peer-observer/kernels, and again when they are a month old.
package kerneltest
