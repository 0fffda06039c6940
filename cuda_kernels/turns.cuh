/* Sine and cosine without the reduction of large arguments, which costs a GPU local memory and double precision. */
#pragma once
#include "lane.cuh"

#define TWO_PI ((real)6.283185307179586476925286766559)

/* sin and cos of 2 pi t: Taylor series on a quarter turn, the same on every device and in every vector lane. */
static __device__ __forceinline__ void turns(real t, real& s, real& c) {
    t = t - floor(t + (real)0.5);
    const real a = t < (real)0 ? -t : t;
    const int far = a > (real)0.25;
    const real x = TWO_PI * (far ? (real)0.5 - a : a), y = x * x;
    real p, q;
    if (sizeof(real) == 4) {
        p = madd(madd(madd(madd(madd(y, (real)-2.50521083854417e-8, (real)2.75573192239859e-6), y, (real)-1.98412698412698e-4),
                           y, (real)8.33333333333333e-3), y, (real)-0.166666666666667), y, (real)1);
        q = madd(madd(madd(madd(madd(madd(y, (real)2.08767569878681e-9, (real)-2.75573192239859e-7), y,
                                     (real)2.48015873015873e-5), y, (real)-1.38888888888889e-3), y, (real)4.16666666666667e-2),
                      y, (real)-0.5), y, (real)1);
    } else {
        p = (real)1.95729410633912612e-20;
        q = (real)-8.89679139245057e-22;
        p = madd(p, y, (real)-8.22063524662432950e-18);
        p = madd(p, y, (real)2.81145725434552060e-15);
        p = madd(p, y, (real)-7.64716373181981641e-13);
        p = madd(p, y, (real)1.60590438368216133e-10);
        p = madd(p, y, (real)-2.50521083854417202e-8);
        p = madd(p, y, (real)2.75573192239858925e-6);
        p = madd(p, y, (real)-1.98412698412698413e-4);
        p = madd(p, y, (real)8.33333333333333322e-3);
        p = madd(p, y, (real)-0.166666666666666657);
        p = madd(p, y, (real)1);
        q = madd(q, y, (real)4.11031762331216484e-19);
        q = madd(q, y, (real)-1.56192069685862253e-16);
        q = madd(q, y, (real)4.77947733238738525e-14);
        q = madd(q, y, (real)-1.14707455977297245e-11);
        q = madd(q, y, (real)2.08767569878681002e-9);
        q = madd(q, y, (real)-2.75573192239858883e-7);
        q = madd(q, y, (real)2.48015873015873016e-5);
        q = madd(q, y, (real)-1.38888888888888894e-3);
        q = madd(q, y, (real)4.16666666666666644e-2);
        q = madd(q, y, (real)-0.5);
        q = madd(q, y, (real)1);
    }
    s = t < (real)0 ? -x * p : x * p;
    c = far ? -q : q;
}
