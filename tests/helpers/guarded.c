/* A memory allocator for NumPy that lays every array against a page which may not be touched.
 *
 * install(1) lays arrays so that their last byte is the last before a protected page: reading or writing one byte past
 * the end ends the process with SIGSEGV. install(0) lays them so that their first byte is the first after a protected
 * page. Memory that is given back is unmapped at once, so that the use of an array
 * after its end is seen, too. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <numpy/arrayobject.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)

static int at_end = 1;
static size_t allocations = 0;

static size_t pages_for(size_t size) { return (size + PAGE - 1) / PAGE * PAGE + (size == 0 ? PAGE : 0); }

/* One protected page, the pages in use, one protected page. */
static void *lay(size_t size) {
    size_t used = pages_for(size);
    char *base = mmap(NULL, used + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return NULL;
    if (mprotect(base + PAGE, used, PROT_READ | PROT_WRITE)) return NULL;
    allocations++;
    return at_end ? base + PAGE + used - size : base + PAGE;
}

static void *guarded_malloc(void *context, size_t size) {
    char *memory = lay(size);
    if (memory) memset(memory, 0xFF, size);  /* NaN, as integers -1: what was not written shows */
    return memory;
}

static void *guarded_calloc(void *context, size_t count, size_t size) { return lay(count * size); }

static void guarded_free(void *context, void *memory, size_t size) {
    if (!memory) return;
    size_t used = pages_for(size);
    char *first = (char *)((size_t)memory / PAGE * PAGE);
    if (size == 0 && at_end) first -= PAGE;
    munmap(first - PAGE, used + 2 * PAGE);
}

/* NumPy resizes only in ndarray.resize, which nothing here calls. */
static void *guarded_realloc(void *context, void *memory, size_t size) { return NULL; }

static PyDataMem_Handler handler = {
    "guarded", 1, {NULL, guarded_malloc, guarded_calloc, guarded_realloc, guarded_free}};

static PyObject *install(PyObject *self, PyObject *arguments) {
    if (!PyArg_ParseTuple(arguments, "i", &at_end)) return NULL;
    PyObject *capsule = PyCapsule_New(&handler, "mem_handler", NULL);
    if (!capsule) return NULL;
    PyObject *previous = PyDataMem_SetHandler(capsule);
    Py_DECREF(capsule);
    return previous;
}

static PyObject *restore(PyObject *self, PyObject *capsule) {
    PyObject *previous = PyDataMem_SetHandler(capsule);
    Py_XDECREF(previous);
    Py_RETURN_NONE;
}

static PyObject *count(PyObject *self, PyObject *nothing) { return PyLong_FromSize_t(allocations); }

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, "Lay arrays against protected pages: 1 at their end, 0 at their beginning."},
    {"restore", restore, METH_O, "Give NumPy back the handler that install returned."},
    {"count", count, METH_NOARGS, "How many arrays have been laid so."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "guarded", NULL, -1, methods};

PyMODINIT_FUNC PyInit_guarded(void) {
    import_array();
    return PyModule_Create(&module);
}
