package interop;
